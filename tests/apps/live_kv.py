# SPDX-License-Identifier: BSD-3-Clause
"""tests/apps/live_kv.py: the key-value server, beside memcached, and memcached's own clients.

What is sent to ours is sent to Debian's memcached, too, on the loopback of the same namespace, and
the answers are compared byte by byte. Those of a program that is not installed are skipped.
"""

import contextlib
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import time
import unittest

import live
from live import ADDR, App, LiveTest, connect, noise, receive

PORT = 11211
BIG = 1 << 20  # bytes of the largest value

try:
    import pymemcache
except ImportError:
    pymemcache = None


def kv(*args):
    return App('kv', *args)


def needs(program):
    return unittest.skipUnless(shutil.which(program), f'{program} is not installed')


def memcached_port():
    """On the loopback: where both are there, ours has the usual one."""
    return PORT + live.KERNEL


@contextlib.contextmanager
def memcached():
    """The real one, on the loopback."""
    port = memcached_port()
    live.command('ip', 'link', 'set', 'lo', 'up')
    process = subprocess.Popen(['setpriv', '--pdeathsig', 'KILL', 'memcached', '-u', 'root',
                                '-l', '127.0.0.1', '-p', str(port), '-U', '0', '-I', '2m'])

    def listens():
        with contextlib.suppress(OSError), contextlib.closing(
                socket.create_connection(('127.0.0.1', port), 1)):
            return True

    try:
        live.wait_until(listens, 10, 'memcached does not listen')
        yield
    finally:
        process.kill()
        process.wait()


class Peer:
    """One connection; the end of an answer is found by asking for another one behind it."""

    def __init__(self, addr, port=PORT):
        self.sock = live.reach(addr, port, 20)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.count = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def say(self, data):
        """All that is answered to @data, which is whole commands."""
        self.count += 1
        mark = b'mark%d' % self.count
        self.sock.sendall(data + b'set ' + mark + b' 7 0 0\r\n\r\nget ' + mark + b'\r\n')
        end = b'STORED\r\nVALUE ' + mark + b' 7 0\r\n\r\nEND\r\n'
        got = bytearray()
        while not got.endswith(end):
            part = self.sock.recv(1 << 18)
            if not part:
                return bytes(got) + b'(closed)'
            got += part
        return bytes(got[:-len(end)])


@contextlib.contextmanager
def listening(*args):
    """For clients that try once."""
    with kv(*args) as app:
        app.wait_until_all_listen()
        yield app


def block(words, value, end=b'\r\n'):
    return words.encode() + b' %d' % len(value) + b'\r\n' + value + end


KEY = 'k' * 250
LINES = [
    # storing
    block('set a 0 0', b'abc') + b'get a\r\n', b'set a 0 0 3\r\nabcdefgh\r\nget a\r\n',
    b'set a 0 0 3\r\nabc\n\nget a\r\n', b'set a 0 0 3 noreply\r\nabcdef\r\n', b'set a 0 0 -1\r\n',
    b'set a -1 0 1\r\nx\r\n', b'set a 1 x 1\r\nx\r\n', b'set a 0 0 3000000000\r\n',
    b'set a 0 0 1 bar\r\nx\r\n', b'set a 0 0 1 noreply x\r\nx\r\n', b'set a 0 0\r\n', b'set\r\n',
    b'set a 0 0 1x\r\nx\r\n', b'set a 5x 0 1\r\nx\r\n', b'set a +5 0 1\r\nx\r\nget a\r\n',
    b'set a 0 0 1\nx\r\nget a\r\n', block(f'set {KEY} 4294967295 0', b'x') + b'get ' +
    KEY.encode() + b'\r\n', block(f'set {KEY}k 0 0', b'x'), block('set e 0 0', b'') + b'get e\r\n',
    block('set nl 0 0', b'\r\nEND\r\n\0\xff') + b'get nl\r\n',
    block('set \x10\x7f\tk 0 0', b'x') + b'get \x10\x7f\tk\r\n',
    block('add c 0 0', b'1') + block('add c 0 0', b'2') + b'get c\r\n',
    block('replace zz 0 0', b'1'), block('replace c 3 0', b'1') + b'get c\r\n',
    block('append zz 0 0', b'1'), block('prepend zz 0 0', b'1'),
    block('append c 9 9', b'5') + block('prepend c 9 9', b'4') + b'get c\r\n',
    b'cas zz 0 0 1 5\r\n1\r\n', b'cas c 0 0 1 99999999\r\n1\r\n', b'cas c 0 0 1 x\r\n1\r\n',
    b'cas c 0 0 1\r\n1\r\n', b'set e 0 -1 1\r\nx\r\nget e\r\n', b'add e 0 0 1\r\nx\r\nget e\r\n',
    # asking
    b'get\r\n', b'get \r\n', b'gets\r\n', b'get a b c\r\n', b'get  a\r\n', b' get a \r\n',
    b'get a\n', b'get a a a\r\n', b'get ' + KEY.encode() + b'k\r\n', b'GET a\r\n', b'gat b\r\n',
    b'get a ' + KEY.encode() + b'k\r\n', b'gat 0 a c\r\n', b'gat x b\r\n', b'gat 0\r\n', b'gat\r\n',
    b'gat -1 e\r\nget e\r\n', b'get ' + b' '.join(b'k%d' % i for i in range(3000)) + b'\r\n',
    # numbers
    b'set n 0 0 2\r\n99\r\nincr n 1\r\nget n\r\ndecr n 91\r\nget n\r\nincr n 1\r\nget n\r\n',
    b'set n 0 0 20\r\n18446744073709551615\r\nincr n 2\r\nget n\r\ndecr n 9\r\nget n\r\n',
    b'set n 0 0 3\r\nabc\r\nincr n 1\r\n', b'set n 0 0 3\r\n12 \r\nincr n 1\r\nget n\r\n',
    b'set n 0 0 3\r\n 12\r\nincr n 1\r\n', b'set n 0 0 3\r\n+12\r\nincr n 1\r\nget n\r\n',
    b'set n 0 0 4\r\n1 ab\r\nincr n 1\r\nget n\r\n', b'set n 0 0 0\r\n\r\nincr n 1\r\n',
    b'set n 0 0 21\r\n000000000000000000001\r\nincr n 1\r\nget n\r\n', b'incr zz 1\r\n',
    b'decr zz 1\r\n', b'incr c x\r\n', b'incr c -1\r\n', b'incr c 18446744073709551616\r\n',
    b'incr c\r\n', b'incr c 1 2 3\r\n', b'incr n 1 noreply\r\nget n\r\n', b'incr n 1 foo\r\n',
    # touching, deleting, flushing
    b'touch zz 0\r\n', b'touch a 100\r\nget a\r\n', b'touch a x\r\n', b'touch a\r\n',
    b'touch a 0 noreply\r\n', b'touch ' + KEY.encode() + b'k 0\r\n', b'touch a -1\r\nget a\r\n',
    b'set b 0 0 1\r\nx\r\ndelete b\r\ndelete b\r\n', b'delete b 0\r\n', b'delete b 1\r\n',
    b'delete b noreply\r\n', b'delete b 0 noreply\r\n', b'delete b foo bar\r\n', b'delete\r\n',
    b'delete ' + KEY.encode() + b'k\r\n', b'flush_all x\r\n', b'flush_all x noreply\r\n',
    b'flush_all 1 2 3\r\n', b'flush_all 100\r\nget c\r\n', b'flush_all\r\nget c n\r\n',
    b'flush_all 0\r\n', b'flush_all noreply\r\n', b'flush_all 0 noreply\r\n', b'flush_all -5\r\n',
    # the rest
    b'verbosity\r\n', b'verbosity 0\r\n', b'verbosity x\r\n', b'verbosity 0 noreply\r\n',
    b'verbosity 0 0 0\r\n', b'\r\n', b'\n', b' \r\n', b'x\r\n', b'foo bar\r\n', b'mn\r\n',
    b'stats foo\r\n', b'stats reset\r\n', b'a\0b\r\n', b'x' * 2000 + b'\r\n',
    b'incr c x noreply\r\nincr zz 1 noreply\r\n', b'\r\n' * 50,
]


class Protocol(LiveTest):
    CORES = ()

    @needs('memcached')
    def test_answers_are_memcached_s_byte_for_byte(self):
        with (memcached(), kv(*self.CORES) as app, Peer('127.0.0.1', memcached_port()) as theirs,
              Peer(ADDR) as ours):
            for line in LINES:
                with self.subTest(line=line[:120]):
                    self.assertEqual(ours.say(line), theirs.say(line))
            self.assertEqual(app.stop(), 0)

    @needs('memcached')
    def test_random_commands_are_answered_as_memcached_does(self):
        seed = random.randrange(1 << 32)
        draw = random.Random(seed)
        key = lambda: draw.choice('abcdefgh')
        number = lambda: draw.choice(['0', '1', '7', '99', '100', str(2**64 - 1), 'x', '-3'])

        def value():
            kind = draw.randrange(6)
            if kind == 0:
                return draw.choice([b'9', b'10', b'0', b' 5', b'18446744073709551615', b'1x'])
            return draw.randbytes(draw.choice([0, 1, 10, 100, 1500, 9000, 20000, 100000]))

        def line():
            quiet = draw.choice(['', '', '', ' noreply'])
            kind = draw.randrange(8)
            if kind < 3:
                verb = draw.choice(['set', 'set', 'add', 'replace', 'append', 'prepend'])
                data = value()
                return f'{verb} {key()} {draw.randrange(9)} 0 {len(data)}{quiet}\r\n'.encode() + \
                    data + b'\r\n'
            if kind < 5:
                return f'get {" ".join(key() for _ in range(draw.randrange(1, 6)))}\r\n'.encode()
            # A number that becomes shorter is written over the old one, with spaces behind it, or
            # into a new item while somebody else, as a thread of memcached, uses that: not asked.
            counted, digits = draw.choice('xyz'), draw.choice(['9', '10', '0', str(2**64 - 1)])
            return draw.choice([
                f'set {counted} 0 0 {len(digits)}\r\n{digits}',
                f'incr {counted} {number()}{quiet}\r\ndelete {counted} noreply',
                f'decr {counted} {number()}{quiet}\r\ndelete {counted} noreply',
                f'delete {key()}{quiet}',
                f'touch {key()} {draw.choice(["0", "9999", "-3", "x"])}{quiet}',
                f'gat 0 {key()} {key()}', f'flush_all{quiet}' if draw.random() < .1 else 'mn',
            ]).encode() + b'\r\n'

        with (memcached(), kv(*self.CORES) as app, Peer('127.0.0.1', memcached_port()) as theirs,
              Peer(ADDR) as ours):
            for _ in range(300):
                lines = b''.join(line() for _ in range(draw.randrange(1, 12)))
                self.assertEqual(ours.say(lines), theirs.say(lines), (seed, lines[:300]))
            self.assertEqual(app.stop(), 0)

    def test_cas_stores_only_what_was_not_changed(self):
        with kv(*self.CORES) as app, Peer(ADDR) as peer:
            peer.say(b'set a 5 0 1\r\nx\r\n')
            unique = re.fullmatch(rb'VALUE a 5 1 (\d+)\r\nx\r\nEND\r\n', peer.say(b'gets a\r\n'))[1]
            self.assertEqual(peer.say(b'cas a 5 0 1 ' + unique + b'\r\ny\r\n'), b'STORED\r\n')
            self.assertEqual(peer.say(b'cas a 5 0 1 ' + unique + b'\r\nz\r\n'), b'EXISTS\r\n')
            self.assertEqual(peer.say(b'get a\r\n'), b'VALUE a 5 1\r\ny\r\nEND\r\n')
            self.assertEqual(app.stop(), 0)

    def test_items_expire(self):
        with kv(*self.CORES) as app, Peer(ADDR) as peer:
            date = int(time.time()) + 3
            peer.say(b'set r 0 2 1\r\nx\r\nset d 0 %d 1\r\nx\r\n' % date)
            peer.say(b'set old 0 2592001 1\r\nx\r\n')
            peer.say(b'set never 0 0 1\r\nx\r\nset f 0 2592000 1\r\nx\r\n')
            self.assertEqual(peer.say(b'get r d old never f\r\n').count(b'VALUE'), 4)
            live.wait_until(lambda: b'VALUE' not in peer.say(b'get r d\r\n'), 6, 'not expired')
            self.assertEqual(peer.say(b'get never f\r\n').count(b'VALUE'), 2)
            self.assertEqual(app.stop(), 0)

    def test_the_largest_value_comes_back_and_one_more_byte_is_refused(self):
        with kv(*self.CORES) as app, Peer(ADDR) as peer:
            value = noise(BIG)
            self.assertEqual(peer.say(block('set a 0 0', value)), b'STORED\r\n')
            self.assertEqual(peer.say(b'get a\r\n'),
                             b'VALUE a 0 %d\r\n%b\r\nEND\r\n' % (BIG, value))
            self.assertEqual(peer.say(block('set a 0 0', value + b'x')),
                             b'SERVER_ERROR object too large for cache\r\n')
            self.assertEqual(peer.say(b'get a\r\n'), b'END\r\n')
            self.assertEqual(app.stop(), 0)

    def test_stats_count_what_was_done(self):
        with kv(*self.CORES) as app, Peer(ADDR) as peer:
            def stats():
                return dict(line.split()[1:] for line in peer.say(b'stats\r\n').splitlines()[:-1])

            first = stats()
            self.assertEqual(int(first[b'limit_maxbytes']), 64 << 20)
            self.assertEqual(int(first[b'threads']), 2 if self.CORES else 1)
            self.assertEqual(int(first[b'pid']), app.process.pid)
            peer.say(b'set a 0 0 1\r\nx\r\nget a\r\nget b c\r\ndelete a\r\n')
            second = stats()
            delta = {name: int(second[name]) - int(first[name]) for name in first
                     if name not in (b'version', b'rusage_user', b'rusage_system')}
            # Each say() sets and gets a mark of its own.
            for name, want in {b'cmd_get': 4 + 1, b'get_hits': 2 + 1, b'get_misses': 2,
                               b'cmd_set': 2 + 1, b'delete_hits': 1, b'total_items': 3}.items():
                self.assertEqual(delta[name], want, name)
            self.assertEqual(app.stop(), 0)


class Shards(Protocol):
    """The same with a store on each of two shards: half of the keys are another shard's."""

    CORES = ('--cores', '0-1')


class Clients(LiveTest):
    CORES = ()

    @needs('memccapable')
    def test_memccapable_finds_a_capable_server(self):
        with listening(*self.CORES) as app:
            said = live.command('memccapable', '-h', ADDR, '-p', str(PORT), '-a', timeout=60)
            self.assertNotIn('[FAIL]', said)
            self.assertEqual(app.stop(), 0)

    @needs('memcslap')
    def test_memcslap_gets_and_sets(self):
        with listening(*self.CORES) as app:
            for test in ('set', 'get', 'mget'):
                said = live.command('memcslap', f'--servers={ADDR}:{PORT}', '--concurrency=8',
                                    '--execute-number=500', f'--test={test}', timeout=60)
                self.assertIn('Time', said.replace('time', 'Time'))
            self.assertEqual(app.stop(), 0)

    @needs('memcaslap')
    def test_memaslap_finds_what_it_stored(self):
        """One key at a time, and five; no --overwrite, which memcached itself does not pass."""
        for more in (['-v', '0.2'], ['-v', '1', '-d', '5']):
            with listening(*self.CORES) as app:
                said = live.command('memcaslap', '-s', f'{ADDR}:{PORT}', '-T', '1', '-c', '16',
                                    '-x', '20000', '-w', '1k', *more, timeout=120)
                counts = {name: int(number)
                          for name, number in re.findall(r'^(\w+): (\d+)$', said, re.M)}
                self.assertEqual((counts['cmd_get'], counts['cmd_set']), (18000, 2000))
                for name in ('get_misses', 'verify_misses', 'verify_failed'):
                    self.assertEqual(counts[name], 0, (name, more))
                self.assertEqual(app.stop(), 0)

    @needs('memcping')
    def test_the_small_tools_work(self):
        with listening(*self.CORES) as app, Peer(ADDR) as peer:
            servers = f'--servers={ADDR}:{PORT}'
            live.command('memcping', servers)
            peer.say(b'set greeting 0 0 5\r\nhello\r\n')
            self.assertEqual(live.command('memccat', servers, 'greeting').strip(), 'hello')
            live.command('memcrm', servers, 'greeting')
            self.assertEqual(peer.say(b'get greeting\r\n'), b'END\r\n')
            self.assertIn('curr_items', live.command('memcstat', servers))
            self.assertEqual(app.stop(), 0)

    @unittest.skipUnless(pymemcache, 'python3-pymemcache is not installed')
    def test_pymemcache_s_client_gets_what_it_set(self):
        with listening(*self.CORES) as app:
            client = pymemcache.client.base.Client((ADDR, PORT), timeout=10)
            values = {f'key{i}': noise(draw, i) for i, draw in
                      enumerate([0, 1, 100, 1460, 8000, 8192, 16384, 70000, BIG])}
            self.assertEqual(client.set_many(values, noreply=False), [])
            self.assertEqual(client.get_many(list(values)), values)
            value, cas = client.gets('key1')
            self.assertTrue(client.cas('key1', b'new', cas))
            self.assertFalse(client.cas('key1', b'newer', cas))
            client.set('n', '41')
            self.assertEqual(client.incr('n', 1), 42)
            self.assertTrue(client.touch('n', 100, noreply=False))
            self.assertTrue(client.delete('n', noreply=False))
            self.assertTrue(client.flush_all(noreply=False))
            self.assertEqual(client.get_many(list(values)), {})
            self.assertIn(b'version', client.stats())
            client.quit()
            self.assertEqual(app.stop(), 0)


class ClientsOfShards(Clients):
    CORES = ('--cores', '0-1')


class Load(LiveTest):
    def test_pipelined_commands_are_answered_in_order(self):
        count = 5000
        with kv() as app, connect(PORT) as sock:
            sock.sendall(b''.join(b'set k%d 0 0 4 noreply\r\n%04d\r\n' % (i, i)
                                  for i in range(count)))
            want = b''.join(b'VALUE k%d 0 4\r\n%04d\r\nEND\r\n' % (i, i) for i in range(count))
            sock.sendall(b''.join(b'get k%d\r\n' % i for i in range(count)))
            self.assertEqual(receive(sock, len(want)), want)
            self.assertEqual(app.stop(), 0)

    def test_who_does_not_read_is_not_read_from_and_holds_nobody_up(self):
        with kv('--memory', '16m') as app, connect(PORT) as slow, Peer(ADDR) as peer:
            value = noise(BIG)
            peer.say(block('set a 0 0', value))
            slow.settimeout(3)
            with self.assertRaises(TimeoutError):  # some 10 GB of answers, if it took them all
                slow.sendall(b'get a\r\n' * (8 << 20 if live.KERNEL else 1 << 20))
            for i in range(30):  # more than fits beside what is being sent
                self.assertEqual(peer.say(block(f'set b{i} 0 0', value)), b'STORED\r\n')
            want = b'VALUE a 0 %d\r\n%b\r\nEND\r\n' % (BIG, value)
            slow.settimeout(20)
            self.assertEqual(receive(slow, len(want)), want)
            self.assertEqual(app.stop(), 0)

    def test_memory_stays_within_its_limit(self):
        def resident():
            with open(f'/proc/{app.process.pid}/status', encoding='ascii') as status:
                return int(re.search(r'VmRSS:\s+(\d+)', status.read())[1]) << 10

        with kv('--memory', '32m') as app, Peer(ADDR) as peer:
            before = resident()
            for round in range(20):
                size = random.Random(round).choice([100, 1000, 5000, 100000])
                peer.say(b''.join(block(f'set r{round}k{i} 0 0', noise(size, i))
                                  .replace(b'\r\n', b' noreply\r\n', 1)
                                  for i in range((8 << 20) // size)))
            stats = dict(line.split()[1:] for line in peer.say(b'stats\r\n').splitlines()[:-1])
            self.assertLessEqual(int(stats[b'bytes']) + int(stats[b'hash_bytes']), 32 << 20)
            self.assertGreater(int(stats[b'bytes']), 24 << 20)
            self.assertGreater(int(stats[b'evictions']), 0)
            if not live.SANITIZED:  # what a sanitizer keeps to watch is not ours
                most = 80 if live.KERNEL else 64  # with what was received, and copies of it
                self.assertLess(resident() - before, most << 20)
            self.assertEqual(app.stop(), 0)

    def test_connections_above_the_limit_are_told_so(self):
        with kv('--connections', '3') as app:
            with contextlib.ExitStack() as stack:
                for _ in range(3):
                    stack.enter_context(Peer(ADDR)).say(b'')
                with connect(PORT) as sock:
                    self.assertEqual(receive(sock, 1000), b'ERROR Too many open connections\r\n')
            live.wait_until(lambda: b'closed' not in Peer(ADDR).say(b''), 5, 'no room again')
            self.assertEqual(app.stop(), 0)


class Trouble(LiveTest):
    def test_a_line_without_end_is_refused(self):
        with kv() as app:
            for line in (b'x' * 3000, b'gat 0 ' + b'a' * 400000, b'get ' + b'a ' * 200000):
                with connect(PORT) as sock:
                    sock.sendall(line)
                    self.assertEqual(receive(sock, 1000), b'CLIENT_ERROR line too long\r\n')
            self.assertEqual(app.stop(), 0)

    def test_other_protocols_are_closed(self):
        with kv() as app:
            for bytes_ in (b'GET / HTTP/1.1\r\nHost: x\r\n\r\n', b'\x80\x0b' + b'\0' * 22):
                with connect(PORT) as sock:
                    sock.sendall(bytes_)
                    self.assertEqual(receive(sock, 1000), b'')
            self.assertEqual(app.stop(), 0)

    def test_garbage_resets_and_half_commands_do_no_harm(self):
        draw = random.Random(3)
        with kv() as app, Peer(ADDR) as peer:
            for i in range(60):
                with connect(PORT) as sock:
                    with contextlib.suppress(OSError):
                        sock.sendall(draw.randbytes(draw.randrange(5000)) if i % 2 else
                                     b'set a 0 0 100000\r\n' + draw.randbytes(i * 1500))
                        if i % 3 == 0:  # closed at once: a reset
                            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                            struct.pack('ii', 1, 0))
            self.assertEqual(peer.say(b'get a\r\n'), b'END\r\n')
            stats = dict(line.split()[1:] for line in peer.say(b'stats\r\n').splitlines()[:-1])
            self.assertLess(int(stats[b'bytes']), 10000)
            self.assertEqual(app.stop(), 0)

    def test_stopped_amid_values_it_ends(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with kv() as app, connect(PORT) as half, connect(PORT) as slow, Peer(ADDR) as peer:
                peer.say(block('set a 0 0', noise(BIG)))
                half.sendall(b'set b 0 0 1000000\r\nxxx')
                slow.sendall(b'get a\r\n' * 50)
                time.sleep(0.2)
                self.assertEqual(app.stop(number, seconds=15), 0)

    def test_wrong_options_are_refused_in_a_sentence(self):
        for args in (['--memory', '1k'], ['--memory', 'x'], ['--memory', ''], ['--port', '0']):
            got = subprocess.run([str(live.APPS / 'kv'), *args], capture_output=True, text=True,
                                 timeout=20, check=False)
            self.assertNotEqual(got.returncode, 0)
            self.assertEqual(got.stderr.count('\n'), 1, got.stderr)


if __name__ == '__main__':
    live.main(__doc__)
