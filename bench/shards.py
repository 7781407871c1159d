# SPDX-License-Identifier: BSD-3-Clause
"""bench/shards.py: two shards against one, each with a load of its own on its core.

Each round runs a shard on the first CPU, one on the second, both in one process, and, as the
control, one on each CPU in two processes at the same time: what these lose against one alone is
the machine's doing, and what two shards lose against these is ours. Where others take a CPU away,
and so from some runs and not from others, the best run of each kind is what they were kept out of.

With --instructions: callgrind's count for a request, of one shard and of two by turns in a thread.
--write renews the table in bench/README.md, with what was counted last.
"""

import json
import os
import re
import statistics
import subprocess

from bench.common import OUT, build, machine, output, replace_table, save
from bench.instructions import count


def options(p):
    p.add_argument("filter", nargs="?", help="only names that match this expression")
    p.add_argument("--repeat", type=int, default=7, help="rounds")
    p.add_argument("--part", type=int, default=1, help="of the requests; more: shorter runs")
    p.add_argument("--fifo", action="store_true",
                   help="under SCHED_FIFO, for a machine that others use, too")
    p.add_argument("--instructions", action="store_true", help="count instead")
    p.add_argument("--write", action="store_true", help="renew the table in bench/README.md")


def at_once(commands):
    """Runs them side by side. Return: what each printed"""
    running = [subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, text=True)
               for command in commands]
    said = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise SystemExit("bench: a run failed")
    return [float(text) for text in said]


def round_of(command, cpus, count):
    """Millions of requests per second: one alone (the CPUs' mean), both shards, two processes"""
    def go(where):
        return [*command, where, count]

    alone = [1e3 / at_once([go(cpu)])[0] for cpu in cpus]
    both = 1e3 / at_once([go(",".join(cpus))])[0]
    apart = sum(1e3 / ns for ns in at_once([go(cpu) for cpu in cpus]))
    return statistics.mean(alone), both, apart


def row(name, rounds):
    ratios = sorted(both / alone for alone, both, _ in rounds)
    control = sorted(apart / alone for alone, _, apart in rounds)
    best = [max(figures) for figures in zip(*rounds)]
    found = {"one": statistics.median(r[0] for r in rounds),
             "two": statistics.median(r[1] for r in rounds),
             "best": {"ratio": best[1] / best[0], "control": best[2] / best[0]},
             "ratio": {"median": statistics.median(ratios), "min": ratios[0], "max": ratios[-1]},
             "control": {"median": statistics.median(control), "min": control[0],
                         "max": control[-1]}}
    print(f"{name:12} {found['one']:8.3f} {found['two']:8.3f} "
          f"{found['ratio']['median']:8.2f} {ratios[0]:6.2f} - {ratios[-1]:<6.2f} "
          f"{found['control']['median']:8.2f} {control[0]:6.2f} - {control[-1]:<6.2f} "
          f"{found['best']['ratio']:6.2f} {found['best']['control']:6.2f}", flush=True)
    return found


def said(spread_of):
    return (f"**{spread_of['median']:.2f}** ({spread_of['min']:.2f}–{spread_of['max']:.2f})")


def table(found, counted):
    """Times, and what was counted of the same, if it was."""
    lines = ["| | one, M/s | two, M/s | two to one | two processes to one | of the best | "
             "instructions of one | of two |", "|---|---:|---:|---:|---:|---:|---:|---:|"]
    for name, row in found.items():
        counts = [f"{counted[name][how]:,.0f}" if name in counted else "–" for how in ("1x", "2x")]
        lines.append(f"| {name} | {row['one']:.2f} | {row['two']:.2f} | {said(row['ratio'])} | "
                     f"{said(row['control'])} | {row['best']['ratio']:.2f} | "
                     + " | ".join(counts) + " |")
    return lines


def counted_last():
    path = OUT / "shards-instructions.json"
    return json.loads(path.read_text())["results"] if path.exists() else {}


def times(args, program, names):
    cpus = [str(cpu) for cpu in sorted(os.sched_getaffinity(0))[:2]]
    if len(cpus) < 2:
        raise SystemExit("bench: two CPUs are needed")
    fifo = ["chrt", "-f", "20"] if args.fifo else []
    print(f"{'M/s':12} {'one':>8} {'two':>8} {'two/one':>8} {'least - most':15} "
          f"{'control':>8} {'least - most':15} {'of the best':>13}")
    found = {name: row(name, [round_of([*fifo, program, name], cpus, count // args.part)
                              for _ in range(args.repeat)])
             for name, count in names.items()}
    if args.write:
        replace_table("shards", f"Requests of all shards, at {machine()['commit']}; median "
                      f"(least–most) of {args.repeat} rounds:", table(found, counted_last()))
    save("shards", found, ratios={f"{name}, two to one": row["ratio"]
                                  for name, row in found.items()})


def instructions(args, program, names):
    found = {}
    print(f"{'per request':12} {'one':>10} {'two':>10} {'more':>8}")
    for name in names:
        each = {}
        for how, shards in (("1x", 1), ("2x", 2)):
            few, many = (count(program, name, how, n) for n in (4000, 8000))
            each[how] = (many - few) / 4000 / shards
        found[name] = each
        print(f"{name:12} {each['1x']:10.0f} {each['2x']:10.0f} "
              f"{100 * (each['2x'] / each['1x'] - 1):7.1f}%", flush=True)
    save("shards-instructions", found, counts={f"{name}, {how}": each for name, row in found.items()
                                               for how, each in row.items()})


def run(args):
    path = (build("haswell", ["bench/shards"], "-Dmarch=haswell")  # as valgrind wants it
            if args.instructions else build("release", ["bench/shards"]))
    program = path / "bench/shards"
    listed = (line.rsplit(" ", 1) for line in output([program]).splitlines())
    names = {n: int(c) for n, c in listed if re.search(args.filter or "", n)}
    (instructions if args.instructions else times)(args, program, names)
