# SPDX-License-Identifier: BSD-3-Clause
"""bench/peers.py: nanoseconds per operation, beside other runtimes that Debian packages."""

import os
import re
import shlex
import shutil
import subprocess

from bench.common import OUT, ROOT, SERVER_CORE, build, machine, output, save, spread, under_option

PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else "python3"
C = ["-O3", "-march=native", "-DNDEBUG"]
# Name, how to build bench/peers/SOURCE (None: nothing to build), how to run it after that.
PEERS = (
    ("Boost.Fiber", "boost_fiber.cc", ["c++", "-std=c++17", *C],
     ["-lboost_fiber", "-lboost_context"]),
    ("State Threads", "state_threads.c", ["cc", *C], ["-lst"]),
    ("Go", "go_runtime.go", ["go", "build"], []),
    ("asyncio", "python_asyncio.py", None, ["asyncio"]),
    ("uvloop", "python_asyncio.py", None, ["uvloop"]),
    ("libev", "libev.c", ["cc", *C], ["-lev"]),
    ("libuv", "libuv.c", ["cc", *C], ["-luv"]),
)


def options(p):
    p.add_argument("filter", nargs="?", help="only names that match this expression")
    p.add_argument("--repeat", type=int, default=5, help="runs of each, in turn")
    under_option(p)
    p.add_argument("--ms", type=int, default=200, help="length of a run: where others use the "
                   "machine, the least of many short runs (--ms 5 --repeat 30) tells most")


def peer_command(name, source, compiler, options):
    """How to call the peer, built; None, with a word, if what it needs is not installed."""
    path = ROOT / "bench/peers" / source
    command = [PYTHON, path, *options]
    log = "python3 is not installed"
    if compiler:
        command = [OUT / "peers" / path.stem]
        (OUT / "peers").mkdir(parents=True, exist_ok=True)
        go = {"GOCACHE": str(OUT / "peers/go"), "GOFLAGS": "-mod=mod", "GO111MODULE": "off"}
        log = f"{compiler[0]} is not installed"
        if shutil.which(compiler[0]):
            built = subprocess.run([*compiler, "-o", command[0], path, *options], text=True,
                                   env={**os.environ, **go}, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT)
            log = built.stdout
            if built.returncode:
                command[0].unlink(missing_ok=True)
    if shutil.which(command[0]):
        version = subprocess.run([*command, "--version"], text=True, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE)
        if version.returncode == 0:
            return command, version.stdout.strip()
        log = version.stderr
    why = re.search(r".*(?:fatal error|cannot find|Error:|not installed).*", log)
    print(f"{name} is left out: {why.group(0).strip() if why else log.strip()}")
    return None


def peer_programs():
    """Ours and the peers that are there: name -> (command, version, operations)."""
    ours = build("release", ["bench/instructions"]) / "bench/instructions"
    found = {"apus": ([ours], f"apus {machine()['commit']}")}
    for peer in PEERS:
        command = peer_command(*peer)
        if command:
            found[peer[0]] = command
    if len(found) <= len(PEERS):
        print("'scripts/setup bench-peers' installs what is missing\n")
    return {name: (command, version, dict(line.rsplit(" ", 1)
                                          for line in output(command).splitlines()))
            for name, (command, version) in found.items()}


def timed(command, operation, count, under):
    return int(output([*under, "taskset", "-c", SERVER_CORE, *command, operation, count]))


def long_enough(command, operation, count, run_ns, under):
    """So many operations that they take run_ns; the first run also warms everything up."""
    while True:
        elapsed_ns = timed(command, operation, count, under)
        if elapsed_ns > run_ns / 20:
            return max(2000, int(count * run_ns / elapsed_ns)) // 1000 * 1000
        count *= 10


def beside(operation, programs, args):
    """One operation wherever it exists, in turn: the machine's mood is the same for all."""
    under = shlex.split(args.under)
    counts = {name: long_enough(command, operation, int(operations[operation]), args.ms * 1e6,
                                under)
              for name, (command, _, operations) in programs.items() if operation in operations}
    runs = {name: [] for name in counts}
    for _ in range(args.repeat):
        for name, count in counts.items():
            runs[name].append(timed(programs[name][0], operation, count, under) / count)
    row = {name: {**spread(ns), "runs": ns, "operations": counts[name]}
           for name, ns in runs.items()}
    for name, r in row.items():
        ratio = r["median"] / row["apus"]["median"]
        print(f"{operation if name == 'apus' else '':28} {name:14} {r['median']:10.1f} "
              f"{r['min']:10.1f} - {r['max']:<10.1f} {ratio:8.1f}", flush=True)
    return row


def run(args):
    programs = peer_programs()
    elsewhere = {o for name, p in programs.items() if name != "apus" for o in p[2]}
    for name, (_, version, _) in programs.items():
        print(f"{name:14} {version}")
    print(f"\n{'ns per operation':28} {'':14} {'median':>10} {'min':>10} - {'max':<10} "
          f"{'x apus':>8}")
    results = {operation: beside(operation, programs, args)
               for operation in programs["apus"][2]
               if operation in elsewhere and (not args.filter or re.search(args.filter, operation))}
    # Times of a peer by ours, of neighbouring runs: more is better.
    ratios = {f"{operation}/{name}": spread([b / a for a, b in zip(row["apus"]["runs"], r["runs"])])
              for operation, row in results.items() for name, r in row.items() if name != "apus"}
    save("peers", {"versions": {name: version for name, (_, version, _) in programs.items()},
                   "core": SERVER_CORE, "operations": results},
         ratios=ratios, repeat=args.repeat)
