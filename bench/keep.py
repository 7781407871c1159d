# SPDX-License-Identifier: BSD-3-Clause
"""bench/keep.py: put the last results where git has them, for check and plot."""

import json
import sys

from bench.common import OUT, RESULTS, ROOT

NEEDS_SETUP = False


def options(p):
    p.add_argument('names', nargs='+', metavar='COMMAND', help='whose results to keep')


def without_runs(value):
    """Medians and spreads say it; the single runs stay in build/bench."""
    if isinstance(value, dict):
        return {k: without_runs(v) for k, v in value.items() if k != 'runs'}
    if isinstance(value, float):
        return float(f'{value:.6g}')
    return [without_runs(v) for v in value] if isinstance(value, list) else value


def run(args):
    for name in args.names:
        path = OUT / f'{name}.json'
        if not path.exists():
            sys.exit(f"keep: there is no {path}: run 'scripts/bench {name}' first")
        results = json.loads(path.read_text())
        if 'machine' not in results:
            sys.exit(f'keep: {name} does not say on which machine it ran')
        folder = RESULTS / results['machine']['kind']
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder / path.name
        kept.write_text(json.dumps(without_runs(results), indent=1) + '\n')
        print(f'kept as {kept.relative_to(ROOT)}')
