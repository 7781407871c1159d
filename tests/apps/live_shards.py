#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""tests/apps/live_shards.py: applications on two cores, over TAP with two queues.

The kernel spreads frames over the queues by a rule of its own, so many arrive at the wrong shard;
what a client sees must be what it sees of one.
"""

import json
import os
import socket
import unittest
import urllib.request

import live
from live import ADDR, App, LiveTest, connect, noise, receive

CONNECTIONS = 64


@unittest.skipIf(len(os.sched_getaffinity(0)) < 2, 'needs two CPUs')
class Shards(LiveTest):
    def cores(self):
        return ','.join(str(cpu) for cpu in sorted(os.sched_getaffinity(0))[:2])

    def test_every_shard_serves_pages(self):
        with App('httpd', '--cores', self.cores()) as app:
            opened, taken, handed = {}, {}, {}
            for _ in range(CONNECTIONS):
                with urllib.request.urlopen(f'http://{ADDR}/stats', timeout=10) as page:
                    stats = json.load(page)
                shard = stats['shard.index']
                opened[shard] = stats['tcp.passive_opens']
                taken[shard] = stats['steer.taken']
                handed[shard] = stats['steer.handed_over']
                self.assertEqual(stats['steer.drop_full'], 0)
            self.assertEqual(sorted(opened), [0, 1])
            self.assertGreaterEqual(min(opened.values()), CONNECTIONS // 8)
            self.assertGreaterEqual(sum(opened.values()), CONNECTIONS - 2)
            self.assertGreater(sum(taken.values()) + sum(handed.values()), 0)
            self.assertIn('software steering of 2 shards over 2 queues', app.log())
            self.assertEqual(app.stop(), 0)

    def test_bytes_come_back_over_many_connections_at_once(self):
        with App('echo', '--cores', self.cores()) as app:
            socks = [connect(7) for _ in range(CONNECTIONS)]
            for lap in range(4):
                for i, sock in enumerate(socks):
                    sock.sendall(noise(8192, seed=1000 * lap + i))
                for i, sock in enumerate(socks):
                    self.assertEqual(receive(sock, 8192), noise(8192, seed=1000 * lap + i))
            for sock in socks:
                sock.close()
            self.assertEqual(app.stop(), 0)

    def test_datagrams_come_back_to_many_peers(self):
        with App('echo', '--cores', self.cores()) as app:
            for i in range(CONNECTIONS):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                    sock.settimeout(10)
                    sock.sendto(noise(200, seed=i), (ADDR, 7))
                    self.assertEqual(sock.recv(2048), noise(200, seed=i))
            self.assertEqual(app.stop(), 0)

    def test_start_and_stop_ten_times_leaves_nothing(self):
        for _ in range(10):
            with App('echo', '--cores', self.cores()) as app:
                self.assertEqual(app.stop(), 0)


if __name__ == '__main__':
    live.main(__doc__)
