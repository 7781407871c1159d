# SPDX-License-Identifier: BSD-3-Clause
"""bench/compare.py: whole workloads: apus, the same on kernel sockets, and what one would use else.

Each server has one core, and the same client (apps/load) the other. In turn, so that all columns
see the same machine: a ratio is of two runs that were neighbours.
  apus  our server over memif, by scripts/pair
  twin  the same program, --net kernel, over loopback
  peer  nginx, memcached, or a plain epoll server in C, over loopback
"""

import json
import re
import shlex
import subprocess
import sys

from bench.common import ROOT, save, spread, under_option
from bench.workloads import COLUMNS, COLUMN_TEXT, IDLE, ROWS, prepare

TROUBLE = 0.01  # of the requests failed: no figure to compare


def options(p):
    p.add_argument('filter', nargs='?', help='only rows whose name matches this expression: '
                   + ', '.join(r.name for r in ROWS))
    p.add_argument('--repeat', type=int, default=5, help='runs of each, in turn')
    p.add_argument('--seconds', type=int, default=1, help='length of each run, after a second')
    under_option(p)
    p.add_argument('--columns', default=','.join(COLUMNS), help='some of these, with commas')


def one_run(row, column, rate, args):
    sandbox = [] if column == 'apus' else [ROOT / 'scripts/sandbox']
    command = [*shlex.split(args.under), *sandbox, sys.executable, '-m', 'bench.one_run', row.name,
               column, '--seconds', args.seconds, '--rate', rate]
    got = subprocess.run([str(c) for c in command], cwd=ROOT, text=True, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, check=False)
    if got.returncode:
        return {'trouble': (got.stderr.strip().splitlines() or ['no word'])[-1]}
    return json.loads(got.stdout)


def trouble_of(run):
    """What is wrong with a run; '' if it is a figure to compare."""
    errors = run.get('errors', {})
    if sum(errors.values()) > TROUBLE * run.get('answers', 0):
        return ', '.join(f'{n} {name}' for name, n in errors.items())
    if run['trouble'] or not run.get('value'):
        return run['trouble'] or 'no figure'
    return ''


def column_of(runs):
    """What is kept of a column's runs."""
    good = [r for r in runs if not trouble_of(r)]
    kept = {'runs': runs, 'trouble': sorted({trouble_of(r) for r in runs} - {''})}
    if not good:
        return kept
    percentiles = {p: spread([r['latency_ns'][p] for r in good]) for p in good[0]['latency_ns']}
    return kept | {'value': spread([r['value'] for r in good]), 'latency_ns': percentiles,
                   'server_busy': spread([r['server_busy'] for r in good]),
                   'client_busy': spread([r['client_busy'] for r in good]),
                   'server_bytes': spread([r['server_bytes'] for r in good])}


def ratio_to(row, ours, theirs):
    """Of neighbours in time; more is better for us, whatever the unit."""
    pairs = [(a['value'], b['value']) for a, b in zip(ours['runs'], theirs['runs'])
             if not trouble_of(a) and not trouble_of(b)]
    ratios = [b / a if row.less_is_better else a / b for a, b in pairs if a and b]
    return {k: round(v, 3) for k, v in spread(ratios).items()} if ratios else None


def number(value):
    return f'{value:,.0f}' if value >= 1000 else f'{value:.3g}'


def show_column(text, column, ratio):
    v, lat = column['value'], column['latency_ns']
    times = ' '.join(f'{lat[p]["median"] / 1e3:9.1f}' for p in ('p50', 'p99', 'p99.9'))
    times = times if lat['p50']['median'] else ' ' * len(times)
    busy = ' '.join(f'{column[end]["median"]:5.0%}' for end in ('server_busy', 'client_busy'))
    better = f'{ratio["median"]:7.2f} ({ratio["min"]:.2f} - {ratio["max"]:.2f})' if ratio else ''
    print(f'  {text:22}{number(v["median"]):>10} {number(v["min"]):>10} - {number(v["max"]):<10}'
          f'{times}  {busy} {better}', flush=True)


def show(row, columns, ratios):
    rates = ', '.join(f'{c["rate"]:,}/s' for c in columns.values() if c.get('rate'))
    print(f'{row.title} ({row.unit}{" at " if rates else ""}{rates})')
    for name, column in columns.items():
        text = row.peer if name == 'peer' else COLUMN_TEXT[name]
        if 'value' in column:
            show_column(text, column, ratios.get(f'{row.name}/{name}'))
        for trouble in column['trouble']:
            print(f'  {text:22} TROUBLE: {trouble}', flush=True)


def idle_bytes(results):
    """What a connection that says nothing takes of the server's memory: two rows' difference."""
    if not {'http', 'http_idle'} <= set(results):
        return {}
    found = {}
    for name in results['http_idle']:
        many, few = (results[r].get(name, {}).get('server_bytes') for r in ('http_idle', 'http'))
        if many and few:
            found[name] = round((many['median'] - few['median']) / (IDLE - 64))
    return found


def chosen(expression):
    """Rows whose name matches, and those at half of whose rate one of them runs."""
    names = {row.name for row in ROWS if re.search(expression or '', row.name)}
    names |= {row.half for row in ROWS if row.name in names}
    return [row for row in ROWS if row.name in names]


def run(args):
    versions = prepare()
    names = [c for c in COLUMNS if c in args.columns.split(',')]
    results, ratios = {}, {}
    print(f'{"":24}{"median":>10} {"least":>10} - {"most":<10}{"p50":>9} {"p99":>9} {"p99.9":>9} us'
          '  busy: server, client; times better is apus')
    for row in chosen(args.filter):
        rates = {c: int(results.get(row.half, {}).get(c, {}).get('value', {}).get('median', 0) / 2)
                 for c in names}
        if row.half and not all(rates.values()):
            print(f'{row.title}: left out, for want of the row {row.half}')
            continue
        runs = {c: [] for c in names}
        for _ in range(args.repeat):
            for c in names:
                runs[c].append(one_run(row, c, rates[c], args))
        columns = {c: column_of(runs[c]) | ({'rate': rates[c]} if row.half else {}) for c in names}
        for c in names:
            ratio = ratio_to(row, columns['apus'], columns[c]) if 'apus' in columns else None
            if c != 'apus' and ratio:
                ratios[f'{row.name}/{c}'] = ratio
        results[row.name] = columns
        show(row, columns, ratios)
    each = idle_bytes(results)
    for name, n in each.items():
        kernel = '' if name == 'apus' else ', and what the kernel takes'
        print(f'{COLUMN_TEXT[name]:22} {n:,} bytes of the server for an idle connection{kernel}')
    troubles = {f'{r}/{c}': '; '.join(column['trouble']) for r, columns in results.items()
                for c, column in columns.items() if column['trouble']}
    save('compare', results, versions=versions, ratios=ratios, troubles=troubles, idle_bytes=each,
         seconds=args.seconds, repeat=args.repeat)
