# SPDX-License-Identifier: BSD-3-Clause
"""bench/micro.py: nanoseconds per operation (Google Benchmark)."""

from bench.common import OUT, ROOT, build, call


def options(p):
    p.add_argument("filter", nargs="?", help="only names that match this expression")
    p.add_argument("--repeat", type=int, default=1, help="repetitions; above 1: median and spread")


def run(args):
    path = build("release", ["bench/micro"])
    OUT.mkdir(parents=True, exist_ok=True)
    command = [path / "bench/micro", f"--benchmark_out={OUT / 'micro.json'}",
               "--benchmark_out_format=json", f"--benchmark_repetitions={args.repeat}"]
    if args.filter:
        command.append(f"--benchmark_filter={args.filter}")
    if args.repeat > 1:
        command.append("--benchmark_report_aggregates_only=true")
    call(command)
    print(f"\nwritten to {(OUT / 'micro.json').relative_to(ROOT)}")
