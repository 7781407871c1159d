#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""tests/apps/live_shards.py: applications on two cores, over TAP with two queues.

The kernel spreads frames over the queues by a rule of its own, so many arrive at the wrong shard;
what a client sees must be what it sees of one.
"""

import json
import os
import socket
import time
import unittest
import urllib.request

import live
from live import ADDR, App, LiveTest, connect, noise, receive

CONNECTIONS = 64
IDLE_SECONDS = 12


@unittest.skipIf(len(os.sched_getaffinity(0)) < 2, 'needs two CPUs')
class Shards(LiveTest):
    def cores(self):
        return ','.join(str(cpu) for cpu in sorted(os.sched_getaffinity(0))[:2])

    def test_every_shard_serves_pages(self):
        with App('httpd', '--cores', self.cores()) as app:
            app.wait_until_all_listen()
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
            app.wait_until_all_listen()
            for i in range(CONNECTIONS):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                    sock.settimeout(10)
                    sock.sendto(noise(200, seed=i), (ADDR, 7))
                    self.assertEqual(sock.recv(2048), noise(200, seed=i))
            self.assertEqual(app.stop(), 0)

    def run_ns(self, app):
        """How long all its threads ran, to the nanosecond: ticks are too coarse."""
        total = 0
        for task in os.listdir(f'/proc/{app.process.pid}/task'):
            with open(f'/proc/{app.process.pid}/task/{task}/schedstat', encoding='ascii') as stat:
                total += int(stat.read().split()[0])
        return total

    def stats_of_both(self):
        """What /stats says, by shard: connections are served where they arrive."""
        found = {}
        for _ in range(200):
            with urllib.request.urlopen(f'http://{ADDR}/stats', timeout=10) as page:
                stats = json.load(page)
            found[stats['shard.index']] = stats
            if len(found) == 2:
                return found
        raise AssertionError('one of the shards answers nothing')

    @unittest.skipIf(live.SANITIZED, 'of what users run')
    def test_idle_shards_take_less_than_a_hundredth_of_a_core(self):
        with App('httpd', '--cores', self.cores()) as app:
            app.wait_until_all_listen()
            before = self.stats_of_both()
            time.sleep(1)  # connections that were closed have their last timers
            begin, ran = time.monotonic(), self.run_ns(app)
            time.sleep(IDLE_SECONDS)
            ran = self.run_ns(app) - ran
            seconds = time.monotonic() - begin
            after = self.stats_of_both()
            self.assertLess(ran, seconds * 1e9 / 100)
            wakes = {name: sum(after[i][name] - before[i][name] for i in (0, 1))
                     for name in before[0] if name.startswith('shard.woken')}
            print(f'    idle for {seconds:.0f} s: {ran / 1e7 / seconds:.4f} % of a core; woken '
                  f'by {", ".join(f"{k[15:]} {n}" for k, n in wakes.items() if n)}')
            # Mostly by the requests before and after; left alone, by a timer a second at most.
            self.assertGreater(wakes['shard.woken_by_packets'], 0)
            self.assertLess(sum(wakes.values()), 20 * (seconds + 10))
            self.assertEqual(app.stop(), 0)

    def test_start_and_stop_ten_times_leaves_nothing(self):
        for _ in range(10):
            with App('echo', '--cores', self.cores()) as app:
                self.assertEqual(app.stop(), 0)


if __name__ == '__main__':
    live.main(__doc__)
