# SPDX-License-Identifier: BSD-3-Clause
"""tests/apps/live_trouble.py: bad input and trouble: one sentence, an exit status, nothing left."""

import contextlib
import ctypes
import errno
import os
import pathlib
import re
import resource
import signal
import struct
import subprocess
import tempfile
import unittest

import live
from live import ADDR, App, LiveTest

GOOD = ('--vdev=net_tap0', '--ip', f'{ADDR}/24')


IO_URING_SETUP = 425  # on every architecture


def without_io_uring(error):
    """Before an exec: a rule as a container's, by which io_uring_setup() fails with @error."""
    class Program(ctypes.Structure):
        _fields_ = [('len', ctypes.c_ushort), ('filter', ctypes.c_char_p)]

    rules = b''.join(struct.pack('=HBBI', *rule) for rule in (
        (0x20, 0, 0, 0),                   # load the number of the call
        (0x15, 0, 1, IO_URING_SETUP),      # this one?
        (0x06, 0, 0, 0x00050000 | error),  # SECCOMP_RET_ERRNO
        (0x06, 0, 0, 0x7fff0000)))         # SECCOMP_RET_ALLOW
    program = Program(len(rules) // 8, rules)
    libc = ctypes.CDLL(None, use_errno=True)

    def forbid():
        if libc.prctl(38, 1, 0, 0, 0):  # PR_SET_NO_NEW_PRIVS
            raise OSError(ctypes.get_errno(), 'no_new_privs')
        if libc.prctl(22, 2, ctypes.byref(program), 0, 0):  # PR_SET_SECCOMP
            raise OSError(ctypes.get_errno(), 'seccomp')

    return forbid


@contextlib.contextmanager
def cpuset(cpu):
    """A set of one CPU, by either kind of control groups: where a process writes its id."""
    old = pathlib.Path('/sys/fs/cgroup/cpuset')
    folder = (old if old.is_dir() else old.parent) / f'apus-test-{os.getpid()}'
    try:
        folder.mkdir()
    except OSError as error:
        raise unittest.SkipTest(f'no control groups: {error}') from None
    try:
        try:
            (folder / 'cpuset.mems').write_text('0')
            (folder / 'cpuset.cpus').write_text(str(cpu))
        except OSError as error:
            raise unittest.SkipTest(f'no cpusets: {error}') from None
        yield folder / ('tasks' if old.is_dir() else 'cgroup.procs')
    finally:
        live.wait_until(lambda: not (folder / 'cgroup.procs').read_text(), 10, 'it is not empty')
        folder.rmdir()


class TroubleTest(LiveTest):
    def refused(self, *words, app='echo', wrap=(), **options):
        """The sentence that it ends with; everything else about the end is checked here."""
        with subprocess.Popen([*wrap, str(live.APPS / app), *words], text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, **options) as process:
            live.STARTED.add(process.pid)
            try:
                out, err = process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                process.terminate()
                raise
        got = subprocess.CompletedProcess((), process.returncode, out, err)
        self.assertGreater(got.returncode, 0, f'ended by {got.returncode}: {got.stderr}')
        self.assertEqual(got.stdout, '', 'it spoke to stdout')
        lines = [line for line in got.stderr.splitlines() if not line.startswith('apus: info: ')]
        if lines[1:] and re.match(r'Try `\w+ --help', lines[1]):  # argp's way to name the remedy
            lines[:2] = [f'{lines[0]}. {lines[1]}']
        self.assertEqual(len(lines), 1, f'not one line:\n{got.stderr}')
        said = lines[0]
        self.assertRegex(said, f'^(.*/)?{app}: ')
        self.assertGreater(len(said.split()), 4, f'not a sentence: {said}')
        return said


class Machine(TroubleTest):
    """What the machine does not give."""

    def test_no_tun_device_is_told(self):
        with tempfile.TemporaryDirectory() as empty:
            said = self.refused(*GOOD, wrap=('unshare', '-m', 'sh', '-c',
                                             'mount --bind "$0" /dev/net && exec "$@"', empty))
        self.assertIn('/dev/net/tun', said)

    def test_tun_device_that_may_not_be_opened_is_told(self):
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, 'tun').mkdir()  # there, and not to be opened for writing
            self.refused(*GOOD, wrap=('unshare', '-m', 'sh', '-c',
                                      'mount --bind "$0" /dev/net && exec "$@"', folder))

    def test_no_permission_is_told(self):
        said = self.refused(*GOOD, wrap=('setpriv', '--inh-caps=-all', '--bounding-set=-net_admin'))
        self.assertRegex(said, 'root|CAP_NET_ADMIN|sandbox')

    def test_no_io_uring_is_told(self):
        for error, remedy in ((errno.EPERM, 'seccomp|sysctl'), (errno.ENOSYS, 'Linux 6')):
            with self.subTest(error=error):
                said = self.refused('--net', 'kernel', preexec_fn=without_io_uring(error))
                self.assertIn('io_uring', said)
                self.assertRegex(said, remedy)

    def test_second_instance_is_told_and_the_first_goes_on(self):
        with App('echo') as first:
            said = self.refused(*GOOD)
            self.assertRegex(said, f'{live.TAP}|net_tap0')
            self.assertTrue(first.answers_ping())
            self.assertEqual(first.stop(), 0)

    def test_second_instance_with_a_device_of_its_own_works(self):
        with App('echo') as first:
            second = subprocess.Popen(
                [str(live.APPS / 'echo'), '--vdev=net_tap1,iface=apus1', '--ip', '10.8.0.2/24'],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            try:
                live.STARTED.add(second.pid)
                live.wait_until(lambda: live.is_up('apus1') or second.poll() is not None,
                                20, 'no apus1')
                live.command('ip', 'addr', 'add', '10.8.0.1/24', 'dev', 'apus1')
                live.command('ping', '-c1', '-W5', '10.8.0.2')
                self.assertTrue(first.answers_ping())
                second.send_signal(signal.SIGTERM)
                self.assertEqual(second.wait(10), 0)
            finally:
                if second.poll() is None:
                    second.kill()
                second.communicate()
            self.assertEqual(first.stop(), 0)

    def test_device_that_others_bring_up_early_works(self):
        for _ in range(20):
            up = subprocess.Popen(['sh', '-c', 'until ip link set dtap0 up; do :; done'],
                                  stderr=subprocess.DEVNULL)
            with App('echo') as app:
                self.assertEqual(up.wait(10), 0)
                self.assertTrue(app.answers_ping())
                self.assertEqual(app.stop(), 0)

    def test_too_little_address_space_is_told(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_AS, (150 << 20, 150 << 20))

        if live.SANITIZED:
            self.skipTest('a sanitizer needs terabytes of address space')
        said = self.refused(*GOOD, preexec_fn=limit)
        self.assertRegex(said, '[Mm]emory')

    def test_more_memory_than_there_is_is_told(self):
        said = self.refused(*GOOD, '--eal', '-m 99999999')
        self.assertRegex(said, '[Mm]emory')

    def test_memory_too_small_for_the_mbufs_is_told(self):
        said = self.refused(*GOOD, '--eal', '-m 2')
        self.assertRegex(said, '[Mm]emory|mbufs')

    def test_leftovers_of_a_killed_run_do_not_matter(self):
        with App('echo') as app:
            app.kill(signal.SIGKILL)
            app.end()
        with App('echo') as app:
            self.assertEqual(app.stop(), 0)


class Options(TroubleTest):
    """What the user wrote."""

    def test_unknown_vdev_is_told(self):
        self.assertIn('net_nonsense0', self.refused('--vdev=net_nonsense0', '--ip', '10.7.0.2/24'))

    def test_bad_addresses_are_told(self):
        for ip in ('10.7.0.2/33', '10.7.0.256/24', '10.7.0/24', 'apus/24', '10.7.0.2/', '/24', '',
                   '10.7.0.2/24x', '0.0.0.0/24', '255.255.255.255/24', '224.0.0.1/24',
                   '127.0.0.1/8', '10.7.0.0/24', '10.7.0.255/24', '10.7.0.2/-1'):
            with self.subTest(ip=ip):
                self.assertIn(ip, self.refused('--vdev=net_tap0', '--ip', ip))

    def test_unknown_options_are_told(self):
        self.assertIn('--nonsense', self.refused(*GOOD, '--nonsense'))

    def test_superfluous_arguments_are_told(self):
        self.assertIn('rgument', self.refused(*GOOD, 'nonsense'))

    def test_bad_ports_are_told(self):
        for port in ('0', '65536', '-1', 'http', '', '80x', '99999999999999999999'):
            with self.subTest(port=port):
                self.refused(*GOOD, '--port', port, app='httpd')

    def test_bad_impairments_are_told(self):
        for impair in ('loss', 'loss=', 'loss=x', 'loss=101%', 'loss=-1%', 'nonsense=1', ''):
            with self.subTest(impair=impair):
                self.refused(*GOOD, '--impair', impair)

    def test_bad_idle_and_seed_are_told(self):
        self.refused(*GOOD, '--idle', 'nap')
        self.refused(*GOOD, '--seed', 'x')

    def test_bad_cores_are_told(self):
        for cores, says in (('0-9999', 'no CPU'), ('0,0', 'twice'), ('x', 'give CPUs'),
                            ('', 'give CPUs'), ('1-0', 'give CPUs')):
            with self.subTest(cores=cores):
                self.assertIn(says, self.refused(*GOOD, '--cores', cores))

    @unittest.skipIf(len(os.sched_getaffinity(0)) < 2, 'one core')
    def test_core_outside_of_the_cpuset_is_told(self):
        """A container's, or a part of the machine that is kept for others."""
        first, second = sorted(os.sched_getaffinity(0))[:2]
        with cpuset(first) as tasks:
            said = self.refused(*GOOD, '--cores', f'{first},{second}', app='httpd',
                                wrap=('sh', '-c', f'echo $$ > {tasks} && exec "$0" "$@"'))
        self.assertIn(f'may not run on CPU {second}', said)
        self.assertRegex(said, f'has only {first}$')

    @unittest.skipIf(len(os.sched_getaffinity(0)) < 2, 'one core')
    def test_several_cores_without_a_stack_are_told(self):
        self.assertIn('one core', self.refused('--vdev=net_tap0', '--l2', '--cores', 'all'))

    def test_bad_eal_arguments_are_told(self):
        self.refused(*GOOD, '--eal', '--no-such-option')
        self.refused(*GOOD, '--eal', "'not closed")

    def test_root_that_is_no_folder_is_told(self):
        self.assertIn('/no/such/folder',
                      self.refused(*GOOD, '--root', '/no/such/folder', app='httpd'))
        self.refused(*GOOD, '--root', '/dev/null', app='httpd')

    def test_capture_that_can_not_be_written_is_told(self):
        self.assertIn('/no/such/folder/x.pcapng',
                      self.refused(*GOOD, '--pcap', '/no/such/folder/x.pcapng'))

    def test_help_is_complete_and_goes_to_stdout(self):
        for app in ('echo', 'httpd'):
            got = subprocess.run([str(live.APPS / app), '--help'], text=True, capture_output=True,
                                 check=False, timeout=30)
            self.assertEqual((got.returncode, got.stderr), (0, ''))
            for option in ('--ip', '--vdev', '--idle', '--impair', '--pcap', '--seed', '--debug',
                           '--eal', *(('--port', '--root') if app == 'httpd' else ('--l2',))):
                self.assertIn(option, got.stdout)

    def test_closed_stdio_does_no_harm(self):
        self.refused('--vdev=net_tap0', '--ip', 'nonsense')
        got = subprocess.run([str(live.APPS / 'echo'), '--vdev=net_tap0', '--ip', 'nonsense'],
                             check=False, timeout=30,
                             preexec_fn=lambda: [os.close(fd) for fd in (0, 1, 2)])
        self.assertGreater(got.returncode, 0)


class Capture(TroubleTest):
    def test_capture_of_a_ping_is_pcapng(self):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder, 'a capture.pcapng')
            with App('echo', '--pcap', str(out)) as app:
                self.assertTrue(app.answers_ping())
                self.assertEqual(app.stop(), 0)
            data = out.read_bytes()
            self.assertEqual(data[:4], b'\x0a\x0d\x0d\x0a')  # a section header block
            self.assertIn(bytes([10, 7, 0, 1, 10, 7, 0, 2]), data)  # ... and the ping in it
            self.assertIn(bytes([10, 7, 0, 2, 10, 7, 0, 1]), data)


if __name__ == '__main__':
    live.main(__doc__)
