# SPDX-License-Identifier: BSD-3-Clause
"""bench/cross.py: our ring beside others, and calls between two shards."""

import re
import shlex
import statistics

from bench.common import build, output, save, spread, under_option

# Ours, and the peers that do the same.
PEERS = {
    "ring/round_trip/line": ("ring/round_trip/rte", "ring/round_trip/ck"),
    "ring/stream/line": ("ring/stream/rte", "ring/stream/ck"),
    "wake/call": ("wake/eventfd",),
}


def options(p):
    p.add_argument("filter", nargs="?", help="only names that match this expression")
    p.add_argument("--repeat", type=int, default=5, help="runs of each, in turn")
    under_option(p)
    p.add_argument("--part", type=int, default=4, help="of the operations; more: shorter runs")


def run(args):
    """In turn, so that all rings see the same machine: it has fast and slow minutes."""
    program = build("release", ["bench/cross"]) / "bench/cross"
    rows = [line.rsplit(" ", 1) for line in output([program]).splitlines()]
    rows = [(n, int(c) // args.part) for n, c in rows if re.search(args.filter or "", n)]
    times = {name: [] for name, _ in rows}
    for _ in range(args.repeat):
        for name, operations in rows:
            times[name].append(float(output([*shlex.split(args.under), program, name, operations])))
    print(f"{'ns':26} {'least':>8} {'median':>8} {'most':>8}")
    for name, values in times.items():
        shown = min(values), statistics.median(values), max(values)
        print(f"{name:26} " + " ".join(f"{ns:8.2f}" for ns in shown))
    # Times of a peer by ours, of neighbouring runs: more is better.
    ratios = {f"{peer} by {ours}": spread([b / a for a, b in zip(times[ours], times[peer])])
              for ours, peers in PEERS.items() for peer in peers if {ours, peer} <= times.keys()}
    save("cross", {name: spread(values) for name, values in times.items()}, ratios=ratios,
         repeat=args.repeat)
