# SPDX-License-Identifier: BSD-3-Clause
"""tests/apps/live_load.py: the load generator against servers on the kernel's sockets."""

import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import live
from live import KERNEL_ADDR, App, LiveTest

PORT = 8000
LOAD = 'load/load'
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'


def echo(sock):
    """All bytes back."""
    while data := sock.recv(65536):
        sock.sendall(data)


def http(sock):
    """One answer for every request, whatever it asks for."""
    data = b''
    while got := sock.recv(65536):
        *requests, data = (data + got).split(b'\r\n\r\n')
        sock.sendall(ANSWER * len(requests))


def memcached(values, sock):
    """A cache that forgets nothing and has room for everything."""
    file = sock.makefile('rb')
    while line := file.readline():
        words = line.split()
        if words[0] == b'set':
            values[words[1]] = file.read(int(words[4]) + 2)
            if words[-1] != b'noreply':
                sock.sendall(b'STORED\r\n')
        elif words[0] == b'get' and words[1] in values:
            value = values[words[1]]
            sock.sendall(b'VALUE %s 0 %d\r\n%sEND\r\n' % (words[1], len(value) - 2, value))
        elif words[0] == b'get':
            sock.sendall(b'END\r\n')
        else:
            sock.sendall(b'VERSION 1\r\n')


def discard(sock):
    """Take everything, say nothing."""
    while sock.recv(1 << 20):
        pass


def chatter(sock):
    """Say much."""
    while True:
        sock.sendall(b'x' * 65536)


class Server:
    """A thread per connection on the kernel's sockets; a context manager."""

    def __init__(self, serve):
        self.serve = serve
        self.listener = socket.create_server(('0.0.0.0', PORT), backlog=256)
        self.sockets, self.peers = [], []

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock, peer = self.listener.accept()
                self.peers.append(peer[0])
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.sockets.append(sock)
                threading.Thread(target=self.one, args=(sock,), daemon=True).start()

    def one(self, sock):
        with contextlib.suppress(OSError), sock:
            self.serve(sock)

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in self.sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class Run(App):
    """A run of the load generator, and what it found."""

    listens = False

    def __init__(self, workload, *args, seconds=1, files=None):
        self.file = tempfile.NamedTemporaryFile(suffix='.json')  # closed with the object
        super().__init__(LOAD, workload, '--to', f'{KERNEL_ADDR}:{PORT}', '--seconds', str(seconds),
                         '--warmup', '0', '--json', self.file.name, *args)
        self.limits = [f'--nofile={files}'] if files else []

    def finish(self):
        """Wait for the end. Return: the exit status, the figures"""
        status = self.process.wait(60)
        with open(self.file.name, encoding='utf-8') as file:
            text = file.read()
        return status, json.loads(text) if text else None


def errors(found):
    """Those that there were."""
    return {name: n for name, n in found['errors'].items() if n}


class Workloads(LiveTest):
    def measure(self, serve, workload, *args):
        with Server(serve), Run(workload, *args) as run:
            status, found = run.finish()
        self.assertEqual(errors(found), {})
        self.assertEqual(status, 0)
        self.assertFalse(found['cut_short'])
        return found

    def answered(self, found):
        self.assertGreater(found['answers'], 50)
        latency = found['latency_ns']
        self.assertGreater(latency['max'], 0)
        self.assertLessEqual(latency['p50'], latency['p99'])
        self.assertLessEqual(latency['p99.9'], latency['max'] * 1.04)

    def test_echo_of_many_connections(self):
        found = self.measure(echo, 'echo', '--connections', '20', '--bytes', '1000')
        self.answered(found)
        self.assertGreaterEqual(found['bytes_in'], 1000 * found['answers'])

    def test_http_with_requests_in_a_row(self):
        self.answered(self.measure(http, 'http', '--connections', '4', '--depth', '8'))

    def test_http_with_a_connection_each(self):
        found = self.measure(http, 'http', '--connections', '4', '--new')
        self.answered(found)
        self.assertGreaterEqual(found['connects'], found['answers'])

    def test_memcached_finds_what_it_filled_in(self):
        found = self.measure(functools.partial(memcached, {}), 'memcached', '--connections', '2',
                             '--keys', '50', '--bytes', '3000')
        self.answered(found)
        self.assertEqual(found['misses'], 0)

    def test_memcached_counts_what_it_does_not_find(self):
        # A store per connection: only the one that filled it in would find something.
        found = self.measure(lambda sock: memcached({}, sock), 'memcached', '--connections', '4',
                             '--gets', '100')
        self.assertGreater(found['misses'], 50)

    def test_udp_echo(self):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(('0.0.0.0', PORT))

        def answer():
            with contextlib.suppress(OSError):
                while True:
                    data, peer = sock.recvfrom(65536)
                    sock.sendto(data, peer)

        threading.Thread(target=answer, daemon=True).start()
        with sock, Run('udp', '--connections', '2', '--depth', '4') as run:
            status, found = run.finish()
        self.assertEqual(status, 0)
        self.answered(found)

    def test_connections_opened_and_closed(self):
        self.answered(self.measure(discard, 'connect', '--connections', '2', '--reset'))

    def test_bytes_one_way(self):
        self.assertGreater(self.measure(discard, 'send')['bytes_out'], 1 << 20)
        self.assertGreater(self.measure(chatter, 'receive')['bytes_in'], 1 << 20)

    def test_a_schedule_is_kept(self):
        found = self.measure(echo, 'echo', '--rate', '200', '--connections', '8')
        self.assertGreater(found['answers'], 150)
        self.assertLess(found['answers'], 210)

    def test_silent_connections_are_held(self):
        found = self.measure(echo, 'echo', '--connections', '200', '--active', '2')
        self.answered(found)
        self.assertEqual(found['open'], 200)


class Trouble(LiveTest):
    def failing(self, serve, *args):
        with Server(serve), Run('http', '--timeout', '300', '--connections', '2', *args) as run:
            status, found = run.finish()
            self.assertIn('nothing was answered', run.log())
        self.assertEqual(status, 1)
        self.assertEqual(found['latency_ns']['max'], 0)
        return errors(found)

    def test_server_that_is_not_there(self):
        with Run('http', '--timeout', '500') as run:
            status, found = run.finish()
            self.assertIn('nothing was answered', run.log())
        self.assertEqual(status, 1)
        self.assertEqual(list(errors(found)), ['refused'])

    def test_server_that_never_answers(self):
        self.assertEqual(list(self.failing(discard)), ['timeout'])

    def test_server_that_hangs_up(self):
        self.assertEqual(list(self.failing(lambda sock: sock.recv(1))), ['reset'])
        self.assertEqual(list(self.failing(lambda sock: sock.recv(65536))), ['closed'])

    def test_server_that_speaks_something_else(self):
        self.assertEqual(list(self.failing(echo)), ['bad_answer'])

    @unittest.skipIf(len(os.sched_getaffinity(0)) < 2, 'needs two CPUs')
    def test_shards_share_the_work_and_add_up(self):
        cores = ','.join(str(cpu) for cpu in sorted(os.sched_getaffinity(0))[:2])
        with Server(echo), Run('echo', '--connections', '9', '--active', '5', '--rate',
                                         '200', '--cores', cores, seconds=2) as run:
            status, found = run.finish()
        self.assertEqual((status, errors(found)), (0, {}))
        self.assertEqual(found['open'], 9)
        self.assertEqual(found['connects'], 9 + 1)
        self.assertTrue(390 <= found['answers'] <= 410, found['answers'])

    @live.own_network
    def test_connections_leave_from_all_addresses(self):
        with Server(echo) as server, Run('echo', '--connections', '12', '--addrs', '4') as run:
            status, found = run.finish()
        self.assertEqual((status, errors(found)), (0, {}))
        peers = server.peers[-12:]  # before them there was one to see that the server is there
        self.assertEqual({peer: peers.count(peer) for peer in peers},
                         {f'10.7.0.{i}': 3 for i in range(2, 6)})

    def test_interrupt_says_what_was_measured_so_far(self):
        with Server(echo), Run('echo', seconds=1000) as run:
            time.sleep(1)
            run.process.send_signal(signal.SIGINT)
            status, found = run.finish()
        self.assertEqual(status, 0)
        self.assertTrue(found['cut_short'])
        self.assertGreater(found['answers'], 10)
        self.assertLess(found['seconds'], 30)


class Limits(LiveTest):
    """What runs out on the kernel's sockets."""

    @live.kernel_network
    def test_ports_that_run_out_get_a_sentence(self):
        live.command('sysctl', '-w', 'net.ipv4.ip_local_port_range=40000 40009')
        try:
            with Server(echo), Run('echo', '--connections', '20') as run:
                status, found = run.finish()
        finally:
            live.command('sysctl', '-w', 'net.ipv4.ip_local_port_range=32768 60999')
        self.assertEqual(status, 0)
        self.assertEqual(list(errors(found)), ['no_port'])
        self.assertLessEqual(found['open'], 10)

    @live.kernel_network
    def test_descriptors_that_run_out_get_a_sentence(self):
        with Server(echo), Run('echo', '--connections', '50', files=40) as run:
            status, found = run.finish()
            self.assertEqual(status, 0)
        self.assertEqual(list(errors(found)), ['no_descriptor'])
        self.assertLess(found['open'], 40)


class Options(LiveTest):
    def test_wrong_ones_get_a_sentence(self):
        for args, word in (
                ([], 'workload'), (['gopher'], 'no such workload'), (['http'], '--to is missing'),
                (['http', '--to', 'x'], '--to x'), (['http', 'echo'], 'one workload'),
                (['http', '--to', '10.7.0.1', '--path', 'x y'], '--path'),
                (['udp', '--to', '10.7.0.1', '--bytes', '4'], '--bytes 4'),
                (['echo', '--to', '10.7.0.1', '--bytes', '100000'], 'at most'),
                (['echo', '--to', '10.7.0.1', '--connections', '0'], '--connections 0'),
                (['echo', '--to', '10.7.0.1', '--json', '/no/such/x'], '--json /no/such/x: No'),
                (['echo', '--to', '10.7.0.1', '--addrs', '0'], '--addrs 0'),
                (['echo', '--to', '10.7.0.1', '--addrs', '254'], 'do not follow'),
                (['echo', '--to', '10.8.0.1', '--gw', '10.7.0.3', '--addrs', '2'], 'own address')):
            got = subprocess.run([str(live.APPS / LOAD), *args], text=True, capture_output=True,
                                 check=False, timeout=30)
            self.assertEqual(got.returncode, 2, args)
            self.assertIn(word, got.stderr)
            self.assertEqual(got.stderr.count('\n'), 1, got.stderr)


if __name__ == '__main__':
    live.main(__doc__)
