# SPDX-License-Identifier: BSD-3-Clause
"""bench/echo.py: what a request costs a TCP echo server, by how many connections are open.

bench/echo_cost.c joins a server and a client by a memif. Times are of two threads on two CPUs, and
only of the turns of the server's loop that found something to do: it may wait for its client, as
it does with one connection. Instructions are callgrind's, of both by turns in one thread, so a
batch may be larger than between two CPUs. Of 100,000 connections either 256 are busy and the
others silent, or each is asked in its turn, 256 at a time: then nothing of it is in a cache.
--write renews the table in bench/README.md.
"""

import os
import re
import shlex
import statistics
import sys

from bench.common import build, machine, output, replace_table, save, spread, under_option
from bench.instructions import count

# Name of the row: connections open, of which are asked, requests at a time.
ROWS = {
    "1": (1, 1, 1),
    "32": (32, 32, 32),
    "256": (256, 256, 256),
    "100,000, of which 256 busy": (100000, 256, 256),
    "100,000, each in turn": (100000, 100000, 256),
}
GROWN = (("100,000, of which 256 busy", "256"), ("100,000, each in turn", "256"))
REQUESTS_SECONDS = 0.5  # how long a run counts for, about
COUNTED = 20000  # requests under callgrind


def options(p):
    p.add_argument("filter", nargs="?", help="only rows that match this expression")
    p.add_argument("--repeat", type=int, default=5, help="runs of each row, in turn")
    p.add_argument("--no-instructions", action="store_true", help="times only")
    p.add_argument("--write", action="store_true", help="renew the table in bench/README.md")
    under_option(p)


def one_run(args, program, row, requests, cpus):
    command = [*shlex.split(args.under), program, *row, requests, *cpus]
    ns, rate, busy, batch = map(float, output(command).split())
    return {"ns": ns, "per_second": rate, "busy": busy, "per_turn": batch}


def times(args, program, names):
    """Rows in turn, so that all see the same machine."""
    cpus = sorted(os.sched_getaffinity(0))[:2]
    if len(cpus) < 2:
        sys.exit("bench: two CPUs are needed")
    first = {name: one_run(args, program, ROWS[name], 20000, cpus) for name in names}
    runs = {name: [] for name in names}
    for _ in range(args.repeat):
        for name in names:
            requests = max(int(first[name]["per_second"] * REQUESTS_SECONDS), 20000)
            runs[name].append(one_run(args, program, ROWS[name], requests, cpus))
    return runs


def instructions(program, row):
    return count(program, *row, COUNTED, options=["--collect-atstart=no"]) / COUNTED


def growth(runs):
    """Many connections beside few, of neighbouring runs: 1 is no growth, below it is some."""
    return {f"{few} to {many}": spread([a["ns"] / b["ns"]
                                        for a, b in zip(runs[few], runs[many])])
            for many, few in GROWN if {many, few} <= set(runs)}


def table(results):
    lines = ["| connections | server ns per request | requests/s | server busy | "
             "requests per turn | instructions |", "|---|---:|---:|---:|---:|---:|"]
    for name, found in results.items():
        ns = found["ns"]
        counted = f"{found['instructions']:,.0f}" if "instructions" in found else "–"
        lines.append(f"| {name} | **{ns['median']:,.0f}** ({ns['min']:,.0f}–{ns['max']:,.0f}) | "
                     f"{found['per_second']['median']:,.0f} | {found['busy']:.0%} | "
                     f"{found['per_turn']:.0f} | {counted} |")
    return lines


def run(args):
    names = [n for n in ROWS if re.search(args.filter or "", n)]
    program = build("release", ["bench/echo_cost"]) / "bench/echo_cost"
    runs = times(args, program, names)
    results = {name: {"runs": runs[name], "ns": spread([r["ns"] for r in runs[name]]),
                      "per_second": spread([r["per_second"] for r in runs[name]]),
                      "busy": statistics.median(r["busy"] for r in runs[name]),
                      "per_turn": statistics.median(r["per_turn"] for r in runs[name])}
               for name in names}
    counts = {}
    if not args.no_instructions:
        counting = build("haswell", ["bench/echo_cost"], "-Dmarch=haswell") / "bench/echo_cost"
        for name in names:
            counts[name] = results[name]["instructions"] = instructions(counting, ROWS[name])
    lines = table(results)
    print("\n".join(lines))
    if args.write:
        replace_table("echo", f"A request of one byte and its answer, at {machine()['commit']}; "
                      f"median (least–most) of {args.repeat} runs:", lines)
    save("echo", results, counts=counts, ratios=growth(runs))
