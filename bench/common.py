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


def machine():
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    git = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return {
        "cpu": cpu.group(1) if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "commit": git.stdout.strip() or "unknown",
    }


def save(name, results):
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), "results": results}, indent=2) + "\n")
    print(f"\nwritten to {path.relative_to(ROOT)}")


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
