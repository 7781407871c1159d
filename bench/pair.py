# SPDX-License-Identifier: BSD-3-Clause
"""bench/pair.py: HTTP and echo between two processes of ours, over shared memory."""

import json
import re

from bench.common import ROOT, output, save, summary

# What the load generator is told; rows of the table.
PAIR = {
    "http, 1 connection": ["http"],
    "http, 64": ["http", "--connections", "64"],
    "http, 64, 16 in a row": ["http", "--connections", "64", "--depth", "16"],
    "http, a connection each": ["http", "--connections", "64", "--new", "--reset"],
    "http, 64, half of its rate": ["http", "--connections", "64"],
    "tcp echo 64 B, 1": ["echo"],
    "tcp echo 64 B, 32": ["echo", "--connections", "32"],
    "tcp echo 64 B, 256": ["echo", "--connections", "256"],
    "udp echo 64 B, 64": ["udp", "--connections", "64"],
}


def options(p):
    p.add_argument("filter", nargs="?", help="only rows that match this expression")
    p.add_argument("--link", choices=("memif", "vhost"), default="memif")
    p.add_argument("--repeat", type=int, default=5, help="runs of each")
    p.add_argument("--seconds", type=int, default=2, help="length of each run")


def one_run(args, workload):
    """One run. Return: what the load generator found"""
    text = output([ROOT / "scripts/pair", "--link", args.link, *workload, "--seconds",
                   args.seconds, "--quiet", "--json", "-"])
    found = json.loads(text[text.index("{"):])
    return {"per_second": found["per_second"], "p50_ns": found["latency_ns"]["p50"],
            "p99_ns": found["latency_ns"]["p99"],
            "errors": {name: n for name, n in found["errors"].items() if n}}


def run(args):
    results = {}
    print(f"{'over ' + args.link:28} {'median/s':>12} {'min':>12} - {'max':<12}{'p50 us':>9} "
          f"{'p99 us':>9}")
    for name, workload in PAIR.items():
        if args.filter and not re.search(args.filter, name):
            continue
        if name.endswith("half of its rate"):
            full = results.get("http, 64") or {
                "median": one_run(args, workload)["per_second"]}
            workload = [*workload, "--rate", int(full["median"] / 2)]
        results[name] = summary(name, [one_run(args, workload) for _ in range(args.repeat)])
    save("pair", {"link": args.link, "workloads": results})
