# SPDX-License-Identifier: BSD-3-Clause
"""tests/apps/live_proxy.py: our TCP against the kernel's on both sides of a proxy.

Everything goes through our stack twice, as a server and as a client: bulk in both directions,
over good links and bad ones, by sockets here and by iperf3. What tshark makes of the packets is
looked at, too.
"""

import contextlib
import hashlib
import json
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

import live
from live import ADDR, KERNEL_ADDR, App, LiveTest, connect, noise, receive

PORT = 8080
SERVER_PORT = 9000
LINKS = {  # what our side does to what it sends and to what it gets
    'good': [],
    'lossy_tenth': ['--impair', 'loss=0.1%'],
    'lossy_1': ['--impair', 'loss=1%,delay=1ms'],
    'lossy_5': ['--impair', 'loss=5%,delay=1ms'],
    'lossy_10': ['--impair', 'loss=10%,delay=1ms'],
    'long': ['--impair', 'delay=20ms,jitter=2ms'],
    'reordering': ['--impair', 'delay=2ms,reorder=10%'],
    'all_at_once': ['--impair', 'loss=2%,delay=2ms,jitter=1ms,reorder=5%,duplicate=2%,corrupt=1%'],
}
# Bytes each way: what a link carries in about a second.
AMOUNT = {'good': 64 << 20, 'lossy_tenth': 16 << 20, 'lossy_1': 4 << 20, 'lossy_5': 512 << 10,
          'lossy_10': 128 << 10, 'long': 4 << 20, 'reordering': 8 << 20, 'all_at_once': 256 << 10}


class Server:
    """Accepts one connection at a time in the kernel and hands it to @serve."""

    def __init__(self, serve):
        self.listener = socket.create_server((KERNEL_ADDR, SERVER_PORT), backlog=100)
        self.serve = serve
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                threading.Thread(target=self.one, args=(sock,), daemon=True).start()

    def one(self, sock):
        with sock, contextlib.suppress(OSError):
            sock.settimeout(60)
            self.serve(sock)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def proxy(*args):
    return App('proxy', '--port', str(PORT), '--to', f'{KERNEL_ADDR}:{SERVER_PORT}', *args)


def answer_with_digest(sock):
    """Take all until the end, then say what it was."""
    digest = hashlib.sha256()
    while part := sock.recv(1 << 18):
        digest.update(part)
    sock.sendall(digest.digest())


def send_all(data):
    def serve(sock):
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        receive(sock, 1)
    return serve


class Bulk(LiveTest):
    """Bytes arrive as they were sent, in both directions, over every kind of link."""

    def upload(self, link):
        data = noise(AMOUNT[link])
        with proxy(*LINKS[link]) as app, Server(answer_with_digest), connect(PORT, 60) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            self.assertEqual(receive(sock, 33), hashlib.sha256(data).digest())
            self.assertEqual(app.stop(), 0)

    def download(self, link):
        data = noise(AMOUNT[link])
        with proxy(*LINKS[link]) as app, Server(send_all(data)), connect(PORT, 60) as sock:
            got = receive(sock, len(data) + 1)
            self.assertEqual(hashlib.sha256(got).digest(), hashlib.sha256(data).digest())
            self.assertEqual(app.stop(), 0)


for name, options in LINKS.items():
    only = live.own_network if options else lambda test: test
    setattr(Bulk, f'test_upload_over_a_{name}_link', only(lambda self, n=name: self.upload(n)))
    setattr(Bulk, f'test_download_over_a_{name}_link', only(lambda self, n=name: self.download(n)))


class Small(LiveTest):
    @live.own_network
    def test_small_requests_over_a_lossy_link_never_stall_beyond_the_rto_schedule(self):
        """A lost lone segment costs a probe or a timeout of 0.2 to 0.4 s, the next the double."""
        def echo(sock):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while part := sock.recv(4096):
                sock.sendall(part)
        worst = 0
        with proxy('--impair', 'loss=2%') as app, Server(echo), connect(PORT, 60) as sock:
            for i in range(300):
                begin = time.monotonic()
                sock.sendall(struct.pack('!I', i))
                self.assertEqual(struct.unpack('!I', receive(sock, 4))[0], i)
                worst = max(worst, time.monotonic() - begin)
            self.assertEqual(app.stop(), 0)
        self.assertLess(worst, 8)

    def test_five_hundred_short_connections(self):
        with proxy() as app, Server(answer_with_digest):
            for i in range(500):
                with connect(PORT) as sock:
                    sock.sendall(data := noise(i, seed=i))
                    sock.shutdown(socket.SHUT_WR)
                    self.assertEqual(receive(sock, 33), hashlib.sha256(data).digest())
            self.assertEqual(app.stop(), 0)


class Ends(LiveTest):
    def test_a_reset_of_the_server_reaches_the_client(self):
        def reset(sock):
            receive(sock, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        with proxy() as app, Server(reset), connect(PORT) as sock:
            sock.sendall(b'x')
            with self.assertRaises(ConnectionResetError):
                receive(sock, 1)
            self.assertEqual(app.stop(), 0)

    def test_a_server_that_refuses_resets_the_client(self):
        with proxy() as app:
            with self.assertRaises(ConnectionResetError), connect(PORT) as sock:
                receive(sock, 1)  # if the reset was not faster than connect()
            self.assertEqual(app.stop(), 0)

    def test_a_half_close_leaves_the_other_half_open(self):
        def late(sock):
            self.assertEqual(receive(sock, 6), b'hello')
            time.sleep(0.2)
            sock.sendall(b'world')
        with proxy() as app, Server(late), connect(PORT) as sock:
            sock.sendall(b'hello')
            sock.shutdown(socket.SHUT_WR)
            self.assertEqual(receive(sock, 6), b'world')
            self.assertEqual(app.stop(), 0)

    def test_it_ends_amid_bytes_that_a_server_does_not_take(self):
        done = threading.Event()
        with proxy() as app, Server(lambda sock: done.wait(60)), connect(PORT) as sock:
            sock.settimeout(2)
            with contextlib.suppress(TimeoutError):
                while True:
                    sock.send(bytes(1 << 16))
            self.assertEqual(app.stop(), 0)
            done.set()


@unittest.skipUnless(shutil.which('iperf3'), 'no iperf3')
class Iperf(LiveTest):
    """iperf3's client and server in the kernel, and we between them."""

    def iperf(self, *args, impair=()):
        with proxy(*impair) as app, subprocess.Popen(
                ['iperf3', '-s', '-1', '-B', KERNEL_ADDR, '-p', str(SERVER_PORT)],
                stdout=subprocess.DEVNULL) as server:
            time.sleep(0.3)
            try:
                said = json.loads(live.command('iperf3', '-c', ADDR, '-p', str(PORT), '-t', '2',
                                               '--json', *args, timeout=60))
            finally:
                server.terminate()
            self.assertEqual(app.stop(), 0)
        self.assertNotIn('error', said)
        return said['end']

    def test_iperf3_up(self):
        self.assertGreater(self.iperf()['sum_received']['bytes'], 8 << 20)

    def test_iperf3_down(self):
        self.assertGreater(self.iperf('-R')['sum_received']['bytes'], 8 << 20)

    def test_iperf3_eight_streams(self):
        end = self.iperf('-P', '8')
        self.assertEqual(len(end['streams']), 8)
        self.assertTrue(all(s['receiver']['bytes'] > 1 << 18 for s in end['streams']))

    # Not --bidir: its server tells streams apart by the order in which they come.
    @live.own_network
    def test_iperf3_each_way_over_a_lossy_link(self):
        for way in ([], ['-R']):
            end = self.iperf(*way, impair=['--impair', 'loss=1%,delay=1ms'])
            self.assertGreater(end['sum_received']['bytes'], 1 << 17)


@unittest.skipUnless(shutil.which('tshark'), 'no tshark')
class Expert(LiveTest):
    # Over a link that loses nothing: the window of a reader slower than the sender fills and opens.
    EXPECTED = ('window is full', 'window update', 'zero window', 'zerowindow', 'keep-alive')

    @live.own_network
    def test_tshark_finds_nothing_odd_in_our_segments(self):
        data = noise(4 << 20)

        def say(which, *fields):
            return live.command('tshark', '-r', file.name, '-Y', f'tcp.analysis.flags && {which}',
                                '-T', 'fields', *fields, timeout=60)

        # The kernel's side of a TAP drops what its queue does not hold: let it hold a window.
        with tempfile.NamedTemporaryFile(suffix='.pcapng') as file:
            with proxy('--pcap', file.name) as app, Server(answer_with_digest):
                live.command('ip', 'link', 'set', live.TAP, 'txqueuelen', '16384')
                for size in (0, 1, 1000, 100000, len(data)):
                    with connect(PORT) as sock:
                        sock.sendall(data[:size])
                        sock.shutdown(socket.SHUT_WR)
                        self.assertEqual(receive(sock, 33), hashlib.sha256(data[:size]).digest())
                self.assertEqual(app.stop(), 0)
            said = say(f'ip.src == {ADDR}', '-e', 'frame.number', '-e', '_ws.expert.message')
            again = say(f'tcp.analysis.retransmission && ip.dst == {ADDR}', '-e', 'frame.number')
            bad = live.command(
                'tshark', '-r', file.name, '-o', 'tcp.check_checksum:TRUE', '-Y',
                f'ip.src == {ADDR} && (tcp.checksum.status == 0 || _ws.malformed || '
                '_ws.expert.severity >= error)', timeout=60)
        # What a peer sends again, whose timer a stalled machine let run out, is acknowledged again.
        expected = self.EXPECTED + (('duplicate ack',) if again else ())
        odd = [line for line in said.splitlines()
               if not any(word in line.lower() for word in expected)]
        self.assertEqual(odd, [], 'what tshark says of our segments')
        self.assertEqual(bad, '')


if __name__ == '__main__':
    live.main(__doc__)
