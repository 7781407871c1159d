# SPDX-License-Identifier: BSD-3-Clause
"""bench/common.py: what the commands of scripts/bench have in common.

A command is a module beside this one with the name of the command. The first line of its docstring,
after the file's name, is its help; options(parser) adds its options; run(args) does it.
"""

import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
OUT = BUILD / "bench"
RESULTS = ROOT / "bench/results"  # a folder for each kind of machine; kept in git
SERVER_CORE, CLIENT_CORE = "0", "1"


def call(command, **options):
    return subprocess.run([str(c) for c in command], check=True, text=True, **options)


def output(command):
    return call(command, stdout=subprocess.PIPE).stdout


def build(directory, targets, *options):
    """Configures build/<directory> if it is new, and builds the targets."""
    path = BUILD / directory
    log = BUILD / f"{directory}-bench.log"
    path.mkdir(parents=True, exist_ok=True)
    with open(log, "w") as out:
        try:
            if not (path / "build.ninja").exists():
                call(["meson", "setup", path, ROOT, *options], stdout=out, stderr=out)
            call(["ninja", "-C", path, *targets], stdout=out, stderr=out)
        except subprocess.CalledProcessError:
            sys.exit(log.read_text() + f"bench: the build in {path} failed (above)")
    return path


def under_option(p):
    p.add_argument("--under", default="", metavar="COMMAND", help="start each run under this: "
                   "'chrt -r 20' where others use the machine, too")


def cpuinfo(field):
    found = re.search(rf"^{field}\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    return found.group(1) if found else "unknown"


def kind():
    """The kind of machine: results of the same kind may be compared."""
    words = [cpuinfo("model name"), cpuinfo("cpu family"), cpuinfo("model"),
             f"{os.cpu_count()} cpus"]
    return re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")


def machine():
    git = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return {
        "kind": kind(),
        "cpu": cpuinfo("model name"),
        "cores": os.cpu_count(),
        "kernel": platform.release().split("-")[0],
        "commit": git.stdout.strip() or "unknown",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def spread(values):
    """Median, least and most: how every figure is kept and shown."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def without_under(words):
    """A command without --under: whoever runs it again has a machine of his own."""
    return [w for i, w in enumerate(words)
            if not w.startswith("--under") and words[i - 1:i] != ["--under"]]


def save(name, results, **more):
    """Write build/bench/<name>.json.

    What `scripts/bench check` compares is in @more: counts={name: instructions}, and
    ratios={name: spread of a ratio within one run of the command, where more is better}.
    """
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{name}.json"
    text = {"machine": machine(), "command": without_under(sys.argv[1:]), **more,
            "results": results}
    path.write_text(json.dumps(text, indent=1) + "\n")
    print(f"\nwritten to {path.relative_to(ROOT)}; 'scripts/bench keep {name}' commits to it")


def replace_table(command, head, lines):
    """The table in bench/README.md that `scripts/bench COMMAND --write` renews."""
    path = ROOT / "bench/README.md"
    begin, end = f"<!-- scripts/bench {command} --write -->", "<!-- end -->"
    text = path.read_text()
    if text.count(begin) != 1 or end not in text.split(begin)[1]:
        sys.exit(f"bench: {path} has no place for the table: {begin} ... {end}")
    before, rest = text.split(begin)
    after = rest.split(end, 1)[1]
    path.write_text("\n".join([before + begin, head, "", *lines, end + after]))


class Server:
    """A process that is waited for until it answers, and ended by SIGTERM."""

    def __init__(self, command, ready, setup=lambda pid: None):
        self.process = subprocess.Popen([str(c) for c in command], stderr=subprocess.PIPE)
        setup(self.process.pid)
        for _ in range(100):
            if subprocess.run(ready, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode == 0:
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        self.process.kill()
        sys.exit(self.process.stderr.read().decode() + f"bench: {command[0]} did not start")

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=10)


def summary(name, runs):
    rate = [r["per_second"] for r in runs]
    row = {"runs": runs, "median": statistics.median(rate), "min": min(rate), "max": max(rate)}
    p50 = statistics.median(r["p50_ns"] for r in runs) / 1e3
    p99 = statistics.median(r["p99_ns"] for r in runs) / 1e3
    errors = [r["errors"] for r in runs if r["errors"]]
    print(f"{name:28} {row['median']:12,.0f} {row['min']:12,.0f} - {row['max']:<12,.0f}"
          f"{p50:9.1f} {p99:9.1f}{f'  errors: {errors}' if errors else ''}", flush=True)
    return row
