# SPDX-License-Identifier: BSD-3-Clause
"""bench/wake.py: how late a sleeping shard notices, by what wakes it."""

import re
import statistics

from bench.common import build, output, save


def options(p):
    p.add_argument("filter", nargs="?", help="only names that match this expression")
    p.add_argument("--repeat", type=int, default=5, help="runs of each, in turn")
    p.add_argument("--count", type=int, default=1000, help="wake-ups of each run")
    p.add_argument("--fifo", action="store_true",
                   help="under SCHED_FIFO, for a machine that others use, too")


def run(args):
    program = build("release", ["bench/wake"]) / "bench/wake"
    command = ["chrt", "-f", "20", program] if args.fifo else [program]
    names = [line.split()[0] for line in output([program]).splitlines()]
    names = [name for name in names if re.search(args.filter or "", name)]
    runs = {name: [] for name in names}
    for _ in range(args.repeat):
        for name in names:
            runs[name].append([int(ns) for ns in output([*command, name, args.count]).split()])
    print(f"{'us':10} {'p50':>8} {'least':>8} {'most':>8} {'p99':>8}")
    found = {}
    for name, pairs in runs.items():
        p50 = [p[0] / 1e3 for p in pairs]
        found[name] = {"p50": statistics.median(p50), "min": min(p50), "max": max(p50),
                       "p99": statistics.median(p[1] / 1e3 for p in pairs)}
        print(f"{name:10} " + " ".join(f"{v:8.1f}" for v in found[name].values()))
    save("wake", found)
