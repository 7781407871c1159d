# SPDX-License-Identifier: BSD-3-Clause
"""tests/apps/live_echo.py: the echo application and the kernel's ICMP, UDP and TCP."""

import contextlib
import re
import select
import signal
import socket
import struct
import threading
import time

import live
from live import ADDR, App, LiveTest, connect, noise, receive

PORT = 7


def echo_all(sock, data):
    """Send everything, half-close, and take everything: both directions at once."""
    def send():
        with contextlib.suppress(OSError):
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    got = receive(sock, len(data) + 1)
    sender.join(10)
    return got


def reset(sock):
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    sock.close()


class Icmp(LiveTest):
    def test_ping_of_every_size_is_answered(self):
        with App('echo') as app:
            for size in (0, 1, 56, 1000, 1472):
                said = live.command('ping', '-c3', '-i0.05', '-W2', f'-s{size}', ADDR)
                self.assertIn(' 0% packet loss', said)
            self.assertEqual(app.stop(), 0)

    def test_ping_flood_loses_nothing(self):
        with App('echo') as app:
            said = live.command('ping', '-c2000', '-f', '-W2', ADDR)
            self.assertIn(' 0% packet loss', said)
            self.assertEqual(app.stop(), 0)


class Udp(LiveTest):
    def test_datagrams_come_back_whole_and_from_where_they_were_sent(self):
        with App('echo') as app, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            for size in (0, 1, 2, 100, 1471, 1472):
                data = noise(size, seed=size)
                sock.sendto(data, (ADDR, PORT))
                self.assertEqual(sock.recvfrom(65536), (data, (ADDR, PORT)))
            self.assertEqual(app.stop(), 0)

    def test_closed_port_is_reported_by_icmp(self):
        with App('echo') as app, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.connect((ADDR, 9))
            sock.send(b'anybody?')
            with self.assertRaises(ConnectionRefusedError):
                sock.recv(100)
            self.assertEqual(app.stop(), 0)

    def test_many_peers_get_their_own(self):
        with App('echo') as app, contextlib.ExitStack() as stack:
            socks = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                     for _ in range(100)]
            for i, sock in enumerate(socks):
                sock.settimeout(5)
                sock.sendto(b'peer %d' % i, (ADDR, PORT))
            for i, sock in enumerate(socks):
                self.assertEqual(sock.recv(100), b'peer %d' % i)
            self.assertEqual(app.stop(), 0)


class Tcp(LiveTest):
    def test_bytes_of_every_size_come_back(self):
        with App('echo') as app:
            for size in (1, 2, 1459, 1460, 1461, 65535, 65536, 1000000):
                with connect(PORT) as sock:
                    data = noise(size, seed=size)
                    self.assertEqual(echo_all(sock, data), data)
            self.assertEqual(app.stop(), 0)

    def test_empty_connection_is_closed_both_ways(self):
        with App('echo') as app:
            with connect(PORT) as sock:
                self.assertEqual(echo_all(sock, b''), b'')
            self.assertEqual(app.stop(), 0)

    def test_small_messages_are_answered_at_once(self):
        with App('echo') as app, connect(PORT) as sock:
            start = time.monotonic()
            for i in range(500):
                data = b'message %d' % i
                sock.sendall(data)
                self.assertEqual(receive(sock, len(data)), data)
            # A delayed ACK or Nagle in the way would cost 40 ms and more each.
            self.assertLess(time.monotonic() - start, 5)
            sock.close()
            self.assertEqual(app.stop(), 0)

    def test_closed_port_refuses(self):
        with App('echo') as app:
            with self.assertRaises(ConnectionRefusedError):
                socket.create_connection((ADDR, 9), 10)
            self.assertEqual(app.stop(), 0)

    def test_500_connections_at_once_get_their_own(self):
        with App('echo') as app, contextlib.ExitStack() as stack:
            socks = [stack.enter_context(connect(PORT)) for _ in range(500)]
            for i, sock in enumerate(socks):
                sock.sendall(noise(5000, seed=i))
            for i, sock in enumerate(socks):
                self.assertEqual(receive(sock, 5000), noise(5000, seed=i))
            self.assertTrue(app.answers_ping())
            stack.close()
            self.assertEqual(app.stop(), 0)

    def test_2000_connections_one_after_the_other(self):
        with App('echo') as app:
            for i in range(2000):
                with connect(PORT) as sock:
                    sock.sendall(b'%d' % i)
                    self.assertEqual(receive(sock, len(b'%d' % i)), b'%d' % i)
            self.assertEqual(app.stop(), 0)

    def test_resets_in_all_moments_do_no_harm(self):
        with App('echo') as app:
            for i in range(100):
                sock = connect(PORT)
                if i % 3:
                    sock.sendall(noise(i * 1000))
                if i % 3 == 2:
                    sock.recv(100)
                reset(sock)
            with connect(PORT) as sock:
                self.assertEqual(echo_all(sock, b'still there?'), b'still there?')
            self.assertEqual(app.stop(), 0)

    @live.own_network
    def test_reader_that_rests_loses_nothing(self):
        with App('echo') as app, connect(PORT) as sock:
            data = noise(8 << 20)
            sock.setblocking(False)
            sent = 0
            quiet = 0
            while quiet < 3:  # until both windows are shut for 3 s: probes go meanwhile
                _, ready, _ = select.select([], [sock], [], 1)
                if ready and sent < len(data):
                    sent += sock.send(data[sent:sent + 65536])
                else:
                    quiet += 1
            self.assertLess(sent, len(data), 'nothing held the sender back')
            sock.settimeout(20)
            self.assertEqual(receive(sock, sent), data[:sent])
            sock.close()
            self.assertEqual(app.stop(), 0)


class Bulk(LiveTest):
    def bulk(self, megabytes, seconds, *args):
        data = noise(megabytes << 20)
        with App('echo', *args) as app, connect(PORT, timeout=seconds) as sock:
            start = time.monotonic()
            got = echo_all(sock, data)
            self.assertEqual(len(got), len(data))
            self.assertTrue(got == data, 'the bytes are not the same')
            self.assertLess(time.monotonic() - start, seconds)
            sock.close()
            self.assertEqual(app.stop(), 0)

    def test_50_megabytes_come_back_the_same(self):
        self.bulk(50, 60)

    @live.own_network
    def test_with_loss_they_come_back_the_same(self):
        # Without SACK the kernel, too, repairs one loss per round trip, and waits for some.
        self.bulk(5 if live.SANITIZED else 50, 120, '--impair', 'loss=1%', '--seed', '7')

    @live.own_network
    def test_with_disorder_and_doubles_they_come_back_the_same(self):
        self.bulk(5, 120, '--impair', 'reorder=5%,duplicate=2%', '--seed', '7')

    @live.own_network
    def test_with_flipped_bits_they_come_back_the_same(self):
        self.bulk(5, 120, '--impair', 'corrupt=1%', '--seed', '7')


class L2(LiveTest):
    @live.own_network
    def test_frames_come_back_with_their_macs_swapped(self):
        probe = live.pathlib.Path(__file__).resolve().parent.parent.parent / 'scripts/echo_probe'
        with App('echo', '--l2', ip=False) as app:
            said = live.command(str(probe), 'l2', live.TAP, '--seconds', '1')
            got, sent = map(int, re.match(r'l2: (\d+) of (\d+) frames', said).groups())
            self.assertGreater(got, 1000)
            self.assertGreaterEqual(got, sent * 0.99)
            self.assertEqual(app.stop(), 0)


class Idle(LiveTest):
    def test_idle_costs_under_2_percent_and_wakes_at_once(self):
        if live.SANITIZED:
            self.skipTest('a figure of the release build')
        with App('echo') as app:
            time.sleep(1)  # the kernel's IPv6 has said its first words
            before = app.cpu_seconds()
            time.sleep(5)
            share = (app.cpu_seconds() - before) / 5
            self.assertLess(share, 0.02)
            said = live.command('ping', '-c1', '-W2', ADDR)
            self.assertLess(float(re.search(r'time=([\d.]+) ms', said)[1]), 50)
            self.assertEqual(app.stop(), 0)

    def test_idle_connection_is_answered_after_a_rest(self):
        with App('echo') as app, connect(PORT) as sock:
            time.sleep(3)
            start = time.monotonic()
            sock.sendall(b'awake?')
            self.assertEqual(receive(sock, 6), b'awake?')
            self.assertLess(time.monotonic() - start, 0.5)
            sock.close()
            self.assertEqual(app.stop(), 0)

    def test_spin_works_too(self):
        with App('echo', '--idle', 'spin') as app, connect(PORT) as sock:
            sock.sendall(b'spin')
            self.assertEqual(receive(sock, 4), b'spin')
            sock.close()
            self.assertEqual(app.stop(), 0)


class Stop(LiveTest):
    def stop_with_peers(self, number, *options):
        with App('echo', *options) as app, connect(PORT) as quiet, connect(PORT) as talker:
            talker.sendall(b'hello')
            self.assertEqual(receive(talker, 5), b'hello')
            app.kill(number)
            for sock in (quiet, talker):
                sock.settimeout(5)
                self.assertEqual(sock.recv(100), b'', 'no FIN')
                sock.close()
            self.assertEqual(app.end(), 0)

    def test_sigterm_says_fin_to_the_peers_and_exits_0(self):
        self.stop_with_peers(signal.SIGTERM)

    def test_sigterm_with_several_shards_says_fin_and_exits_0(self):
        self.stop_with_peers(signal.SIGTERM, '--cores', 'all')

    def test_sigint_says_fin_to_the_peers_and_exits_0(self):
        self.stop_with_peers(signal.SIGINT)

    def test_sigterm_while_idle_exits_0(self):
        with App('echo') as app:
            time.sleep(1)
            self.assertEqual(app.stop(), 0)

    def test_sigterm_with_a_peer_that_does_not_close_exits_all_the_same(self):
        with App('echo') as app, connect(PORT) as sock:
            sock.sendall(b'hello')  # one that was not accepted yet may be reset
            self.assertEqual(receive(sock, 5), b'hello')
            app.kill(signal.SIGTERM)
            sock.settimeout(5)
            self.assertEqual(sock.recv(100), b'', 'no FIN')
            self.assertEqual(app.end(), 0)

    def test_sigterm_amid_a_stream_exits_all_the_same(self):
        with App('echo') as app, connect(PORT) as sock:
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    sock.send(bytes(65536))
            app.kill(signal.SIGTERM)
            app.end(15)

    def test_killed_and_started_again_it_works(self):
        for _ in range(3):
            # On the kernel's sockets the killed one's port is taken for some moments longer.
            with App('echo') as app, connect(PORT) as sock:
                sock.sendall(b'again')
                self.assertEqual(receive(sock, 5), b'again')
                app.kill(signal.SIGKILL)
                self.assertEqual(app.end(), -signal.SIGKILL)
                live.wait_until(lambda: live.TAP not in live.devices(), 5, 'the TAP is there')
        with App('echo') as app:
            self.assertEqual(app.stop(), 0)


if __name__ == '__main__':
    live.main(__doc__)
