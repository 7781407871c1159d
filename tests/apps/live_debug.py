# SPDX-License-Identifier: BSD-3-Clause
"""tests/apps/live_debug.py: ask a running application for its tasks, over DPDK's telemetry."""

import contextlib
import ctypes
import json
import os
import pathlib
import signal
import socket
import time
import unittest

import live
from live import App, LiveTest


class Telemetry:
    """A connection to an application's telemetry."""

    def __init__(self, app):
        folder = pathlib.Path(os.environ.get('XDG_RUNTIME_DIR', '/run/user')
                              if os.getuid() else '/var/run') / 'dpdk'
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(10)
        self.sock.connect(str(folder / f'apus-{app.process.pid}' / 'dpdk_telemetry.v2'))
        self.sock.recv(1 << 15)  # who it is

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.sock.close()

    def ask(self, command):
        self.sock.send(command.encode())
        answer = json.loads(self.sock.recv(1 << 15))
        return answer[command.split(',')[0]]


PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WAIT_ALL = 0x40000000  # __WALL: threads, too


@contextlib.contextmanager
def stuck(thread):
    """A thread that does not run, while the others of its process do."""
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.argtypes = [ctypes.c_long] * 4
    for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
        if ptrace(request, thread, 0, 0):
            raise unittest.SkipTest(f'ptrace: {os.strerror(ctypes.get_errno())}')
    os.waitpid(thread, WAIT_ALL)
    try:
        yield
    finally:
        ptrace(PTRACE_DETACH, thread, 0, 0)


class Telling(LiveTest):
    def test_tasks_are_listed(self):
        with App('echo', '--debug') as app, Telemetry(app) as telemetry:
            tasks = telemetry.ask('/apus/tasks')
            main = next(task for task in tasks.values() if task['name'] == 'main')
            self.assertEqual((main['state'], main['waits_for']), ('waits', 'server to close'))
            self.assertGreater(main['waits_ns'], 0)  # known in debug mode
            self.assertIn('tcp accept', [task['waits_for'] for task in tasks.values()])
            last = max(int(key.removeprefix('0/')) for key in tasks)
            self.assertFalse(telemetry.ask(f'/apus/tasks,0,{last}'))
            self.assertEqual(list(telemetry.ask(f'/apus/tasks,0,{last - 1}')), [f'0/{last}'])
            self.assertEqual(app.stop(), 0)

    def test_tree_follows_connections(self):
        with App('echo') as app, Telemetry(app) as telemetry:
            before = telemetry.ask('/apus/tree')
            self.assertRegex(before[1], '^  main: waits for server to close ')
            self.assertRegex('\n'.join(before), '\n  .*: waits for tcp accept ')
            with live.connect(7) as sock:
                sock.sendall(b'x')
                self.assertEqual(live.receive(sock, 1), b'x')
                during = telemetry.ask('/apus/tree')
            self.assertGreater(len(during), len(before))
            stacks = '\n'.join(telemetry.ask('/apus/tree,stacks'))
            self.assertRegex(stacks, r'#\d+ apus_tcp_accept\+0x')
            self.assertEqual(app.stop(), 0)

    @unittest.skipIf(len(os.sched_getaffinity(0)) < 2, 'needs two CPUs')
    def test_all_shards_are_asked_or_one(self):
        cores = ','.join(str(cpu) for cpu in sorted(os.sched_getaffinity(0))[:2])
        with App('echo', '--cores', cores) as app, Telemetry(app) as telemetry:
            app.wait_until_all_listen()
            tasks = telemetry.ask('/apus/tasks')
            self.assertEqual({key.split('/')[0] for key in tasks}, {'0', '1'})
            one = telemetry.ask('/apus/tasks,1')
            self.assertEqual({key.split('/')[0] for key in one}, {'1'})
            tree = telemetry.ask('/apus/tree')
            self.assertEqual([line for line in tree if line.startswith('shard')],
                             ['shard 0:', 'shard 1:'])
            for shard in range(2):
                there = tree[tree.index(f'shard {shard}:') + 1:]
                self.assertIn('  server accept: waits for tcp accept ', '\n'.join(there))
            self.assertNotIn('shard 0:', telemetry.ask('/apus/tree,1'))
            stacks = '\n'.join(telemetry.ask('/apus/tree,1,stacks'))
            self.assertRegex(stacks, r'#\d+ ')
            self.assertIsNone(telemetry.ask('/apus/tree,2'))
            self.assertEqual(app.stop(), 0)

    def test_shard_that_does_not_answer_does_not_hold_the_question_up(self):
        with App('echo') as app, Telemetry(app) as telemetry:
            app.kill(signal.SIGSTOP)
            telemetry.sock.send(b'/apus/tasks')
            time.sleep(1.2)
            app.kill(signal.SIGCONT)
            telemetry.sock.recv(1 << 15)  # null, or the tasks if the shard was quicker
            self.assertTrue(telemetry.ask('/apus/tasks'))
            self.assertEqual(app.stop(), 0)

    def asked_while_stuck(self, telemetry, shard, thread):
        """Only @shard is: the other one answers within the limit, and at once from then on."""
        other = str(1 - shard)
        with stuck(thread):
            for limit in (2, 0.5):
                begin = time.monotonic()
                tasks = telemetry.ask('/apus/tasks')
                self.assertLess(time.monotonic() - begin, limit * (10 if live.SANITIZED else 1))
                self.assertEqual(tasks.pop(str(shard)), 'does not answer')
                self.assertEqual({key.split('/')[0] for key in tasks}, {other})
            tree = telemetry.ask('/apus/tree')
            self.assertIn(f'shard {shard} does not answer', tree)
            self.assertIn(f'shard {other}:', tree)
            self.assertEqual(telemetry.ask(f'/apus/tasks,{shard}'),
                             {str(shard): 'does not answer'})
        live.wait_until(lambda: all('/' in key for key in telemetry.ask('/apus/tasks')), 5,
                        f'shard {shard} does not answer again')

    @unittest.skipIf(len(os.sched_getaffinity(0)) < 2, 'needs two CPUs')
    def test_shard_that_is_stuck_is_named_and_the_others_answer(self):
        cores = ','.join(str(cpu) for cpu in sorted(os.sched_getaffinity(0))[:2])
        with App('echo', '--cores', cores) as app, Telemetry(app) as telemetry:
            app.wait_until_all_listen()
            threads = {app.process.pid: 0}
            for thread in pathlib.Path(f'/proc/{app.process.pid}/task').iterdir():
                if (thread / 'comm').read_text() == 'apus-shard-1\n':
                    threads[int(thread.name)] = 1
            self.assertEqual(len(threads), 2)
            for thread, shard in threads.items():
                self.asked_while_stuck(telemetry, shard, thread)
            self.assertEqual(app.stop(), 0)

    def test_asked_while_it_ends_it_ends(self):
        with App('echo') as app, Telemetry(app) as telemetry:
            app.kill(signal.SIGTERM)
            for _ in range(20):
                try:
                    telemetry.ask('/apus/tree')
                except (OSError, ValueError):
                    break
            self.assertEqual(app.end(), 0)

    def test_nothing_is_wrong_in_debug_mode(self):
        with App('echo', '--debug') as app:
            with live.connect(7) as sock:
                sock.sendall(b'x' * 1000)
                self.assertEqual(live.receive(sock, 1000), b'x' * 1000)
            self.assertEqual(app.stop(), 0)
            found = [line for line in app.log().splitlines() if ': debug: ' in line
                     and 'apus: debug: ' not in line and 'has not suspended' not in line]
            self.assertEqual(found, [])


if __name__ == '__main__':
    live.main(__doc__)
