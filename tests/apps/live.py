# SPDX-License-Identifier: BSD-3-Clause
"""tests/apps/live.py: what the live tests share: applications on a TAP, the kernel as their peer.

A live test runs inside scripts/sandbox. It starts an application of the build on net_tap0, gives
the kernel's side of the TAP its address, and talks to it with the kernel's own TCP/IP. With --net
kernel the application has the kernel's sockets instead, and both addresses are the loopback's.
main() runs a module's tests and prints 'ok NAME' or 'not ok NAME', with what failed indented below.
"""

import argparse
import contextlib
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import unittest

ADDR = '10.7.0.2'
KERNEL_ADDR = '10.7.0.1'
TAP = 'dtap0'
CAP_SYS_ADMIN = 21
APPS = pathlib.Path()  # where the applications are, and if they are slowed down by sanitizers:
SANITIZED = False      # set by main(), as are:
KERNEL = False         # --net kernel
STARTED = set()        # ids of applications


def command(*words, timeout=30):
    """Run to the end; its output if the status is 0."""
    got = subprocess.run(words, text=True, capture_output=True, timeout=timeout, check=False)
    if got.returncode != 0:
        raise AssertionError(f'{" ".join(words)}: exit status {got.returncode}\n'
                             f'{got.stdout}{got.stderr}')
    return got.stdout


def wait_until(condition, seconds, what):
    """Poll: there is no event to wait for outside of the process."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f'{what} within {seconds} s')
        time.sleep(0.02)
    return value


def devices():
    """Names of this namespace's network devices."""
    return {name for _, name in socket.if_nameindex()}


def is_up(device):
    """Is the device there and up? The driver brings it up when the port starts."""
    got = subprocess.run(['ip', '-o', 'link', 'show', 'dev', device, 'up'], text=True,
                         capture_output=True, check=False)
    return got.returncode == 0 and bool(got.stdout)


def of_others(name):
    """Is this a directory of DPDK that belongs to a process that no test here started?"""
    match = re.fullmatch(r'apus-(\d+)|rte|\w*test\w*', name)
    return bool(match) and (not match[1] or int(match[1]) not in STARTED)


def left_behind():
    """What an application must not leave: devices, shared memory, directories of DPDK."""
    found = {f'device {name}' for name in devices()}
    folders = ['/dev/shm', '/var/run/dpdk', '/dev/hugepages', '/tmp/dpdk']
    if runtime := os.environ.get('XDG_RUNTIME_DIR'):
        folders.append(runtime + '/dpdk')
    for folder in folders:
        with contextlib.suppress(OSError):
            found |= {f'{folder}/{name}' for name in os.listdir(folder) if not of_others(name)}
    found |= {f'/tmp/{name}' for name in os.listdir('/tmp') if name.startswith('dpdk')}
    return found


def processes():
    """Ids of running applications of this build, in this network namespace."""
    found = set()
    here = os.readlink('/proc/self/ns/net')
    for pid in filter(str.isdigit, os.listdir('/proc')):
        with contextlib.suppress(OSError):
            exe = os.readlink(f'/proc/{pid}/exe')
            if exe.startswith(f'{APPS}/') and os.readlink(f'/proc/{pid}/ns/net') == here:
                found.add(int(pid))
    return found


def is_listening(pid):
    """Has process @pid a socket that listens? A killed one's may be there for a moment longer."""
    with open('/proc/self/net/tcp', encoding='ascii') as table:
        rows = [line.split() for line in table.readlines()[1:]]
    inodes = {f'socket:[{row[9]}]' for row in rows if row[3] == '0A'}
    with contextlib.suppress(OSError):
        for fd in os.listdir(f'/proc/{pid}/fd'):
            with contextlib.suppress(OSError):
                if os.readlink(f'/proc/{pid}/fd/{fd}') in inodes:
                    return True
    return False


def own_network(test):
    """A test of the network that we have instead of the kernel's: of no concern to that one."""
    test.is_of_own_network = True
    return test


def kernel_network(test):
    """A test of --net kernel alone."""
    test.is_of_kernel_network = True
    return test


class App:
    """A running application; a context manager that leaves nothing running."""

    listens = True  # sooner or later, by TCP

    def __init__(self, name, *args, ip=True):
        self.name = name
        network = ['--vdev=net_tap0', *(['--ip', f'{ADDR}/24'] if ip else [])]
        self.args = [*(['--net', 'kernel'] if KERNEL else network), *args]
        self.ip = ip
        self.limits = []  # as prlimit has them
        self.process = None
        self.told = tempfile.TemporaryFile()
        self.said = b''

    def __enter__(self):
        self.process = subprocess.Popen(
            ['setpriv', '--pdeathsig', 'KILL', *(['prlimit', *self.limits] if self.limits else []),
             str(APPS / self.name), *self.args],
            stdin=subprocess.DEVNULL, stdout=self.told, stderr=subprocess.PIPE)
        STARTED.add(self.process.pid)
        os.set_blocking(self.process.stderr.fileno(), False)
        try:
            if KERNEL:
                wait_until(lambda: is_listening(self.process.pid) or not self.alive() or
                           not self.listens, 30, f'{self.name} does not listen')
                return self
            wait_until(lambda: is_up(TAP) or not self.alive(), 30, f'no {TAP}')
            if not self.alive():
                raise AssertionError(f'{self.name} ended at once')
            if self.ip:
                command('ip', 'addr', 'add', f'{KERNEL_ADDR}/24', 'dev', TAP)
                wait_until(self.answers_ping, 20, f'{ADDR} does not answer')
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, kind, error, trace):
        if self.alive():
            self.process.kill()
        self.process.wait()
        if self.process.returncode == -signal.SIGKILL:
            # Its own directory is what a killed one may leave; the next start removes it, too.
            shutil.rmtree(f'/var/run/dpdk/apus-{self.process.pid}', ignore_errors=True)
        said = self.log()
        self.process.stderr.close()
        self.told.close()
        wait_until(lambda: TAP not in devices(), 5, f'{TAP} is still there')
        if error and said:
            print(f'--- {self.name} {" ".join(self.args)} said:\n{said}---', file=sys.stderr)

    def alive(self):
        return self.process.poll() is None

    def log(self):
        with contextlib.suppress(OSError, ValueError):
            self.said += self.process.stderr.read() or b''
        return self.said.decode(errors='replace')

    def wait_until_all_listen(self):
        """The stack answers pings before the last shard listens; then ours say their port."""
        wait_until(lambda: b' port ' in os.pread(self.told.fileno(), 4096, 0) or not self.alive(),
                   30, f'{self.name} does not say its port')

    def answers_ping(self):
        if not self.alive():
            raise AssertionError(f'{self.name} ended with {self.process.returncode}')
        return subprocess.run(['ping', '-c1', '-W1', ADDR], stdout=subprocess.DEVNULL,
                              check=False).returncode == 0

    def cpu_seconds(self):
        """Of all its threads, user and system."""
        with open(f'/proc/{self.process.pid}/stat', encoding='ascii') as stat:
            fields = stat.read().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def kill(self, number):
        self.process.send_signal(number)

    def end(self, seconds=10):
        """The exit status, once it ends by itself."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f'{self.name} did not end within {seconds} s') from None

    def stop(self, number=signal.SIGTERM, seconds=10):
        self.kill(number)
        return self.end(seconds)


def reach(addr, port, timeout=10):
    """A connection; pings are answered a moment before every shard listens."""
    def attempt():
        with contextlib.suppress(ConnectionRefusedError):
            return socket.create_connection((addr, port), timeout=timeout)

    return wait_until(attempt, 10, 'it does not listen')


def connect(port, timeout=10):
    sock = reach(ADDR, port, timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def receive(sock, count):
    """Exactly @count bytes; fewer if the peer closes first."""
    got = bytearray()
    while len(got) < count and (part := sock.recv(min(count - len(got), 1 << 18))):
        got += part
    return bytes(got)


def noise(count, seed=1):
    """Bytes that are the same in each run, and nowhere like their neighbours."""
    return random.Random(seed).randbytes(count)


# ---- a module's tests, one line each -------------------------------------------------------------

class Lines(unittest.TestResult):
    """ok NAME, not ok NAME, skip NAME."""

    def report(self, word, test, text=''):
        print(f'{word} {test.id().rsplit(".", 1)[1].removeprefix("test_")}')
        for line in text.splitlines():
            print('    ' + line)
        sys.stdout.flush()

    def bad(self, test, error):
        self.report('not ok', test, ''.join(traceback.format_exception(*error)))

    def addSuccess(self, test):
        super().addSuccess(test)
        self.report('ok', test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.bad(test, err)

    def addError(self, test, err):
        super().addError(test, err)
        self.bad(test, err)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.report('skip', test, reason)


def of_concern(test):
    method = getattr(test, test.id().rsplit('.', 1)[1])
    return not getattr(method, 'is_of_own_network' if KERNEL else 'is_of_kernel_network', False)


def main(description):
    global APPS, SANITIZED, KERNEL  # the one setting, from the command line
    root = pathlib.Path(__file__).resolve().parent.parent.parent
    parser = argparse.ArgumentParser(description=description.split('\n', maxsplit=1)[0] +
                                     ' Run it inside scripts/sandbox.')
    parser.add_argument('--build', type=pathlib.Path, default=root / 'build/release')
    parser.add_argument('--net', choices=('dpdk', 'kernel'), default='dpdk')
    parser.add_argument('names', nargs='*', metavar='NAME', help='tests with this in their name')
    args = parser.parse_args()
    APPS = args.build.resolve() / 'apps'
    SANITIZED = b'__asan_init' in (APPS / 'echo').read_bytes()
    if len(devices()) > 1:
        parser.error('this network has devices besides the loopback: run inside scripts/sandbox')
    KERNEL = args.net == 'kernel'
    if KERNEL:
        command('ip', 'link', 'set', 'lo', 'up')
        for addr in (ADDR, KERNEL_ADDR):
            command('ip', 'addr', 'add', f'{addr}/32', 'dev', 'lo')
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules['__main__'])
    chosen = unittest.TestSuite(t for case in suite for t in case if of_concern(t) and
                                (not args.names or any(n in t.id() for n in args.names)))
    result = chosen.run(Lines())
    sys.exit(0 if result.wasSuccessful() else 1)


class LiveTest(unittest.TestCase):
    """A test after which everything must be as it was before."""

    def setUp(self):
        self.before = left_behind()

    def tearDown(self):
        self.assertEqual(processes(), set(), 'processes are left')
        self.assertEqual(left_behind() - self.before, set(), 'something is left behind')
