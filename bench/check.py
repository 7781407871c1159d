# SPDX-License-Identifier: BSD-3-Clause
"""bench/check.py: what got worse since the results that are kept for this kind of machine.

Instructions are the same on each run of one build: more than 2 % above the kept count is worse.
Times depend on the minute, so only ratios of one run are judged: one is worse when all of its runs
lie below all that were kept. Absolute times are not judged. Exit status: 0 nothing got worse,
1 something did, 2 there is nothing to compare with.
"""

import json
import pathlib
import subprocess
import sys

from bench.common import OUT, RESULTS, ROOT, kind, under_option

NEEDS_SETUP = False  # the commands it runs call for theirs
COUNT_SLACK = 0.02
TIMED = ('compare', 'cross', 'echo', 'peers')  # they know --under


def options(p):
    p.add_argument('names', nargs='*', metavar='COMMAND',
                   help='of those whose results are kept (all)')
    p.add_argument('--given', type=pathlib.Path, nargs='?', const=OUT, metavar='FOLDER',
                   help='take fresh results from there (build/bench), do not run anything')
    p.add_argument('--kept', type=pathlib.Path, help='compare with the results in this folder '
                   "(bench/results/ and the machine's kind)")
    under_option(p)
    p.add_argument('--partial', action='store_true', help='what was not measured now is not judged')


def judged_counts(kept, fresh):
    """(name, 'worse' | 'better' | 'same', words) of each count that both have."""
    for name in kept.keys() & fresh.keys():
        change = fresh[name] / kept[name] - 1
        verdict = 'same' if abs(change) <= COUNT_SLACK else 'worse' if change > 0 else 'better'
        yield name, verdict, f'{kept[name]:,.1f} -> {fresh[name]:,.1f} instructions ({change:+.1%})'


def judged_ratios(kept, fresh):
    """The same of ratios, of which more is better: only intervals that lie apart differ."""
    for name in kept.keys() & fresh.keys():
        a, b = kept[name], fresh[name]
        verdict = 'worse' if b['max'] < a['min'] else 'better' if b['min'] > a['max'] else 'same'
        yield name, verdict, (f'{a["median"]:.2f} ({a["min"]:.2f} - {a["max"]:.2f}) -> '
                              f'{b["median"]:.2f} ({b["min"]:.2f} - {b["max"]:.2f}) times')


def judge(kept, fresh, partial=False):
    """All findings on one command's results, in order of names."""
    found = []
    for part, judged in (('counts', judged_counts), ('ratios', judged_ratios)):
        a, b = kept.get(part, {}), fresh.get(part, {})
        found += judged(a, b)
        if not partial:
            found += [(name, 'worse', 'was not measured') for name in a.keys() - b.keys()]
    known = kept.get('troubles', {})
    found += [(name, 'worse', f'trouble: {words}') for name, words in
              fresh.get('troubles', {}).items() if name not in known]
    return sorted(found)


def rerun(name, kept, under):
    """With the options of then, but nothing is written. Return: whether it came to its end"""
    words = [w for w in kept.get('command', [name]) if w != '--write']
    command = [ROOT / 'scripts/bench', *words]
    command += ['--under', under] if under and name in TIMED else []
    print(f'check: running {" ".join(str(c) for c in command[1:])}', flush=True)
    return subprocess.run([str(c) for c in command], stdout=subprocess.DEVNULL,
                          check=False).returncode == 0


def check(name, path, args):
    """One command. Return: how many things are worse"""
    kept = json.loads(path.read_text())
    if not args.given and not rerun(name, kept, args.under):
        print(f'{name}: worse: it failed')
        return 1
    fresh_path = (args.given or OUT) / f'{name}.json'
    if not fresh_path.exists():
        print(f'{name}: no fresh results in {fresh_path}')
        return 0 if args.partial else 1
    fresh = json.loads(fresh_path.read_text())
    if fresh['machine']['kind'] != kept['machine']['kind']:
        sys.exit(f'{name}: {fresh_path} is of another kind of machine')
    found = judge(kept, fresh, args.partial)
    print(f'{name}: {fresh["machine"]["commit"]} against {kept["machine"]["commit"]}: '
          + ', '.join(f'{sum(f[1] == v for f in found)} {v}' for v in ('worse', 'better', 'same')))
    for what, verdict, words in found:
        if verdict != 'same':
            print(f'  {verdict:6} {what:32} {words}')
    return sum(f[1] == 'worse' for f in found)


def run(args):
    folder = args.kept or RESULTS / kind()
    paths = {p.stem: p for p in sorted(folder.glob('*.json'))}
    judged = {n: p for n, p in paths.items() if {'counts', 'ratios'} & json.loads(
        p.read_text()).keys()}
    wanted = args.names or list(judged)
    missing = [n for n in wanted if n not in judged]
    if missing or not wanted:
        print(f'nothing to compare with is kept in {folder}'
              + (f': {", ".join(missing)}' if missing else ''), file=sys.stderr)
        sys.exit(2)
    worse = sum(check(name, judged[name], args) for name in wanted)
    print(f'{worse} worse')
    sys.exit(1 if worse else 0)
