# SPDX-License-Identifier: BSD-3-Clause
"""bench/instructions.py: instructions per operation (callgrind), the same on each run."""

import concurrent.futures
import os
import re
import subprocess
import sys

from bench.common import build, output, save


def options(p):
    p.add_argument("filter", nargs="?", help="only names that match this expression")


def count(program, *words, options=()):
    """Instructions of the whole program, or what valgrind's options collect, with these words."""
    result = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *options, str(program),
         *(str(word) for word in words)], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    collected = re.search(r"Collected : (\d+)", result.stderr)
    if result.returncode or not collected:
        sys.exit(result.stderr + f"bench: {words[0]} failed under callgrind (above)")
    return int(collected.group(1))


def each(program, name, operations):
    """What a run costs beside its operations falls out of the difference."""
    return round((count(program, name, 2 * operations) - count(program, name, operations))
                 / operations, 1)


def run(args):
    # valgrind 3.19 knows no AVX-512.
    program = build("haswell", ["bench/instructions"], "-Dmarch=haswell") / "bench/instructions"
    rows = [line.rsplit(" ", 1) for line in output([program]).splitlines()]
    rows = [(name, int(n)) for name, n in rows if re.search(args.filter or "", name)]
    results = {}
    print(f"{'operation':32} {'instructions':>12}")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:  # counts disturb no counts
        for (name, _), n in zip(rows, pool.map(lambda row: each(program, *row), rows)):
            results[name] = n
            print(f"{name:32} {n:12.1f}", flush=True)
    save("instructions", results, counts=results)
