# SPDX-License-Identifier: BSD-3-Clause
"""bench/idle.py: memory of connections that are open and idle, each end by itself.

With --http they are keep-alive connections of an HTTP server, and the requests of one more are
timed, without and beside them.
"""

import re

from bench.common import build, output, save


def options(p):
    p.add_argument("--count", type=int, default=1000000, help="connections")
    p.add_argument("--http", action="store_true", help="to an HTTP server")


def run(args):
    program = build("release", ["bench/idle"]) / "bench/idle"
    text = output([program, args.count, *(["http"] if args.http else [])])
    print(text, end="")
    ends = re.findall(r"^(\w+) +([\d.]+) MB resident, +([\d.]+) bytes", text, re.MULTILINE)
    times = re.findall(r"^request +beside +(\d+) idle: p50 (\d+), p99 (\d+)", text, re.MULTILINE)
    save("idle_http" if args.http else "idle",
         {"connections": args.count,
          "bytes_per_connection": {name: float(each) for name, _, each in ends},
          "request_ns": {idle: {"p50": int(p50), "p99": int(p99)} for idle, p50, p99 in times}})
