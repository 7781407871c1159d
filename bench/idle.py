# SPDX-License-Identifier: BSD-3-Clause
"""bench/idle.py: memory of connections that are open and idle, each end by itself."""

import re

from bench.common import build, output, save


def options(p):
    p.add_argument("--count", type=int, default=1000000, help="connections")


def run(args):
    program = build("release", ["bench/idle"]) / "bench/idle"
    text = output([program, args.count])
    print(text, end="")
    ends = re.findall(r"^(\w+) +([\d.]+) MB resident, +([\d.]+) bytes", text, re.MULTILINE)
    save("idle", {"connections": args.count,
                  "bytes_per_connection": {name: float(each) for name, _, each in ends}})
