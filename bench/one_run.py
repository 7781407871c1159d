# SPDX-License-Identifier: BSD-3-Clause
"""bench/one_run.py: one run of one row of scripts/bench compare: a server, the client, the figures.

Called by bench/compare.py, in a process of its own, for a column of the kernel's sockets in a
network namespace of its own: whatever happens, nothing is left behind. Prints one line of JSON.
"""

import argparse
import contextlib
import itertools
import json
import os
import pathlib
import resource
import shlex
import signal
import socket
import subprocess
import sys
import time

from bench.common import ROOT
from bench.workloads import APPS, COLUMNS, PEERS, row_named

SAMPLE_SECONDS = 0.1
START_SECONDS = 10
STOP_SECONDS = 10
TICKS = os.sysconf('SC_CLK_TCK')


class Watch:
    """What a process takes: CPU over the last seconds, and memory at the end."""

    def __init__(self):
        self.pid = 0
        self.cpu = []  # (when, seconds of CPU until then)
        self.memory = []  # (when, bytes)
        self.died_at = 0.0  # it was there, and then it was not

    def sample(self):
        try:
            stat = pathlib.Path(f'/proc/{self.pid}/stat').read_text().rsplit(')', 1)[1].split()
            status = pathlib.Path(f'/proc/{self.pid}/status').read_text()
        except OSError:  # not there yet, or waited for
            stat = 'Z'
            if not self.cpu:
                return
        if stat[0] == 'Z':
            self.died_at = self.died_at or time.monotonic()
            return
        self.cpu.append((time.monotonic(), (int(stat[11]) + int(stat[12])) / TICKS))
        if 'RssAnon:' in status:
            self.memory.append((time.monotonic(),
                                int(status.split('RssAnon:')[1].split()[0]) * 1024))

    def last_at_work(self):
        """When it last used its CPU: a client that is done waits for its server to stop."""
        return max((b[0] for a, b in itertools.pairwise(self.cpu) if b[1] > a[1]), default=0)

    def bytes(self, until):
        return max((m for m in self.memory if m[0] <= until), default=(0, 0))[1]

    def busy(self, seconds, until):
        """Share of a core, over the last seconds before."""
        seen = [s for s in self.cpu if s[0] <= until]
        if not seen:
            return 0.0
        end, used = seen[-1]
        begin, before = next(s for s in self.cpu if s[0] >= end - seconds)
        return round((used - before) / (end - begin), 3) if end > begin else 0.0


def children(pid):
    """(pid, name) of each."""
    try:
        pids = pathlib.Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
        return [(int(p), pathlib.Path(f'/proc/{p}/comm').read_text().strip()) for p in pids]
    except OSError:
        return []


def stopped_early(server, client, args):
    """Has the server ended before the client can have been done? Over memif it ends first."""
    if not server.died_at or not client.cpu:
        return False
    done_at = client.cpu[0][0] + args.warmup + args.seconds - 2 * SAMPLE_SECONDS
    return server.died_at < min(done_at, client.died_at or done_at)


def drive(command, server, client, find, args):
    """Run what ends with the load generator's JSON. Return: that, or what went wrong"""
    process = subprocess.Popen([str(c) for c in command], text=True, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + args.seconds + args.warmup + 30
    while process.poll() is None and time.monotonic() < deadline:
        find(process.pid)
        server.sample()
        client.sample()
        time.sleep(SAMPLE_SECONDS)
        if stopped_early(server, client, args):
            break
    if process.poll() is None:  # the client says what it has, and scripts/pair cleans up
        with contextlib.suppress(ProcessLookupError):
            os.kill(client.pid or process.pid, signal.SIGINT)
    try:
        out, said = process.communicate(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        out, said = process.communicate()
    if stopped_early(server, client, args) or 'the server ended with status' in said:
        return {'trouble': 'the server stopped'}
    if time.monotonic() >= deadline or '{' not in out:
        return {'trouble': (said.strip().splitlines() or ['it did not end in time'])[-1]}
    return json.loads(out[out.index('{'):])


def load_options(row, args):
    rate = ['--rate', str(args.rate)] if args.rate else []
    return [*row.load, *rate, '--seconds', str(args.seconds),
            '--warmup', str(args.warmup), '--quiet', '--json', '-']


def over_pair(row, args):
    """Our server, over shared memory: scripts/pair does it all."""
    server, client = Watch(), Watch()

    def find(pid):
        for child, name in children(pid):
            if name == 'load':
                client.pid = child
            else:
                server.pid = child

    command = [ROOT / 'scripts/pair', '--apps', APPS, '--server', row.server,
               *load_options(row, args), '--to', f'10.7.0.1:{row.port}']
    return drive(command, server, client, find, args), server, client


def wait_until_it_listens(process, port):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(('127.0.0.1', port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    process.kill()
    sys.exit(process.communicate()[1] + f'bench: no server on port {port}')


def over_kernel(row, args):
    """Our server or a peer, over the kernel's loopback."""
    first, last = (str(c) for c in (min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))))
    name, *options = shlex.split(row.server)
    command, folder = PEERS[row.peer]
    if args.column == 'twin':
        command, folder = [APPS / name, '--net', 'kernel', '--cores', first, *options], ROOT
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    process = subprocess.Popen([str(c) for c in ('taskset', '-c', first, *command)], cwd=folder,
                               text=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE)
    wait_until_it_listens(process, row.port)
    server, client = Watch(), Watch()
    workers = children(process.pid)  # of nginx, whose master only waits
    server.pid = workers[0][0] if workers else process.pid

    def find(pid):
        client.pid = pid

    load = [APPS / 'load/load', *load_options(row, args), '--net', 'kernel', '--cores', last,
            '--to', f'127.0.0.1:{row.port}']
    found = drive(load, server, client, find, args)
    if process.poll() is not None:
        found['trouble'] = f'the server stopped, status {process.returncode}'
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
    return found, server, client


def value(row, found):
    """The figure of a run, in the unit of its row."""
    if row.unit == 'Gb/s':
        return (found['bytes_in'] + found['bytes_out']) * 8e-9 / found['seconds']
    if row.unit.endswith(' µs'):
        return found['latency_ns'][row.unit.split()[0]] / 1e3
    return found['per_second']


def main():
    parser = argparse.ArgumentParser(prog='bench/one_run.py', description=__doc__)
    parser.add_argument('row')
    parser.add_argument('column', choices=COLUMNS)
    parser.add_argument('--rate', type=int, default=0)
    parser.add_argument('--seconds', type=int, default=1)
    parser.add_argument('--warmup', type=int, default=1)
    args = parser.parse_args()
    row = row_named(args.row)
    args.warmup += row.settle
    found, server, client = (over_pair if args.column == 'apus' else over_kernel)(row, args)
    result = {'trouble': found.get('trouble', '')}
    if 'seconds' in found:
        result |= {'value': round(value(row, found), 3), 'latency_ns': found['latency_ns'],
                   'answers': found['answers'], 'open': found['open'],
                   'errors': {name: n for name, n in found['errors'].items() if n}}
    end = client.last_at_work()
    if client.cpu:  # a client that is done closes what it has, which is no longer measured
        end = min(end, client.cpu[0][0] + args.warmup + args.seconds)
    result |= {'server_busy': server.busy(args.seconds, end),
               'client_busy': client.busy(args.seconds, end), 'server_bytes': server.bytes(end)}
    print(json.dumps(result))


if __name__ == '__main__':
    main()
