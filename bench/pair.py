# SPDX-License-Identifier: BSD-3-Clause
"""bench/pair.py: HTTP and echo between two processes of ours, over shared memory."""

import json
import re

from bench.common import ROOT, output, save, spread, summary

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
    "udp echo 64 B, 8, 32 at a time": ["udp", "--connections", "8", "--depth", "32"],
}


def options(p):
    p.add_argument("filter", nargs="?", help="only rows that match this expression")
    p.add_argument("--link", choices=("memif", "vhost"), default="memif")
    p.add_argument("--repeat", type=int, default=5, help="runs of each")
    p.add_argument("--seconds", type=int, default=2, help="length of each run")
    p.add_argument("--ceiling", action="store_true", help="only the rows of echo, and what share "
                   "of testpmd's packets they reach, measured before and after each run")


def one_run(args, workload):
    """One run. Return: what the load generator found"""
    ceiling = ["--ceiling"] if args.ceiling else []
    text = output([ROOT / "scripts/pair", "--link", args.link, *ceiling, *workload, "--seconds",
                   args.seconds, "--quiet", "--json", "-"])
    found = json.loads(text[text.index("{"):])
    share = {name: found[name] for name in ("ceilings_per_second", "ceiling_share")
             if name in found}
    return {"per_second": found["per_second"], "p50_ns": found["latency_ns"]["p50"],
            "p99_ns": found["latency_ns"]["p99"],
            "errors": {name: n for name, n in found["errors"].items() if n}, **share}


def say_share(row):
    """Each run stands beside its own two ceilings. Keep: the spread of the shares."""
    ceilings = [c for r in row["runs"] for c in r["ceilings_per_second"]]
    row["ceiling_share"] = spread([r["ceiling_share"] for r in row["runs"]])
    share = ", ".join(f"{name} {value:.1%}" for name, value in row["ceiling_share"].items())
    print(f"  of {min(ceilings):,} to {max(ceilings):,} packets/s of testpmd: {share}", flush=True)


def run(args):
    results = {}
    print(f"{'over ' + args.link:28} {'median/s':>12} {'min':>12} - {'max':<12}{'p50 us':>9} "
          f"{'p99 us':>9}")
    for name, workload in PAIR.items():
        if args.filter and not re.search(args.filter, name) or args.ceiling and "echo" not in name:
            continue
        if name.endswith("half of its rate"):
            full = results.get("http, 64") or {
                "median": one_run(args, workload)["per_second"]}
            workload = [*workload, "--rate", int(full["median"] / 2)]
        results[name] = summary(name, [one_run(args, workload) for _ in range(args.repeat)])
        if args.ceiling:
            say_share(results[name])
    save("pair", {"link": args.link, "workloads": results})
