# SPDX-License-Identifier: BSD-3-Clause
"""tests/apps/live_pair.py: two of our processes and a link of shared memory between them."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import unittest

import live
from live import LiveTest

PAIR = pathlib.Path(__file__).resolve().parent.parent.parent / 'scripts/pair'


def pair(*args):
    """The figures of one run."""
    got = subprocess.run([sys.executable, PAIR, '--apps', live.APPS, *args, '--seconds', '1',
                          '--quiet', '--json', '-'], text=True, capture_output=True, check=False,
                         timeout=120)
    if got.returncode != 0:
        raise AssertionError(f'exit status {got.returncode}\n{got.stdout}{got.stderr}')
    if 'the server ended with' in got.stderr:
        raise AssertionError(got.stderr)
    return json.loads(got.stdout[got.stdout.index('{'):])


class Pair(LiveTest):
    def answered(self, *args):
        found = pair(*args)
        self.assertGreater(found['answers'], 100)
        self.assertEqual({name: n for name, n in found['errors'].items() if n}, {})

    def test_http_over_memif(self):
        self.answered('http', '--connections', '64')

    def test_http_over_vhost_and_virtio_user(self):
        self.answered('--link', 'vhost', 'http', '--connections', '64')

    def test_udp_over_memif(self):
        self.answered('udp', '--connections', '8', '--depth', '4')

    def test_http_over_veth_by_af_packet(self):
        self.answered('--link', 'veth-packet', 'http', '--connections', '8')

    def test_http_over_veth_by_af_xdp(self):
        if os.getuid():
            self.skipTest('only root may load programs of XDP')
        if live.SANITIZED:
            self.skipTest('libxdp leaks its rings')
        self.answered('--link', 'veth-xdp', 'http', '--connections', '8')

    def test_echo_over_a_tap(self):
        self.answered('--link', 'tap', 'echo', '--connections', '8')

    @unittest.skipUnless(shutil.which('dpdk-testpmd'), 'no dpdk-testpmd')
    def test_share_of_the_ceiling_is_said(self):
        found = pair('--ceiling', 'udp', '--connections', '8', '--depth', '4')
        before, after = found['ceilings_per_second']
        self.assertGreater(min(before, after), 0)
        self.assertAlmostEqual(found['ceiling_share'],
                               found['per_second'] * 2 / (before + after), places=3)

    def test_server_with_options(self):
        self.answered('--server', 'echo --congestion bbr', 'echo', '--bytes', '4000')

    def test_workload_that_nobody_serves_is_told(self):
        got = subprocess.run([sys.executable, PAIR, 'send'], text=True, capture_output=True,
                             check=False, timeout=30)
        self.assertEqual(got.returncode, 2)
        self.assertIn('no application here serves send', got.stderr)


if __name__ == '__main__':
    live.main(__doc__)
