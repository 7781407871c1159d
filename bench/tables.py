# SPDX-License-Identifier: BSD-3-Clause
"""bench/tables.py: what the README says of results that are kept, made of them."""

import math
import re

from bench.workloads import IDLE, ROWS

OPERATIONS = {
    'task/yield/2': 'yield, 2 tasks',
    'task/spawn_await': 'spawn, run, await',
    'queue/one_way/128': 'queue of 128, per item',
    'queue/ping_pong': 'queue of 1, there and back, per item',
    'lock/contended/4': 'contended lock, per section',
    'event/ping_pong': 'event set until its waiter runs',
    'gather/10': 'gather of 10, per task',
    'timeout/begin_end': 'timeout begun and ended',
}
# Columns of the table of operations: what the README has room for.
RUNTIMES = ('apus', 'State Threads', 'Boost.Fiber', 'Go', 'asyncio')


def decades(least, most):
    """Powers of ten, from the last below to the first above."""
    return math.floor(math.log10(max(least, 1))), math.ceil(math.log10(max(most, 10)))


def span(ns):
    for unit, suffix in ((1e9, 's'), (1e6, 'ms'), (1e3, 'µs')):
        if ns >= unit * 0.9995:
            return f'{figure(ns / unit)} {suffix}'
    return f'{figure(ns)} ns'


def figure(value):
    """Three digits or all of them: 2,431,000 is 2,430,000, 12.53 is 12.5."""
    if value >= 100:
        digits = 10 ** max(math.floor(math.log10(value)) - 3, 0)
        return f'{round(value / digits) * digits:,.0f}'
    return f'{value:.3g}'


def with_spread(s):
    return f'{figure(s["median"])} ({figure(s["min"])}–{figure(s["max"])})' if s else 'no figure'


def head(kept, command):
    m = kept['machine']
    return (f'{m["cpu"]}, {m["cores"]} cores, Linux {m["kernel"]}; '
            f'`{command}` at {m["commit"]}')


def versions_of(versions):
    """'nginx 1.22.1, memcached 1.6.18': the last word of what each said of itself."""
    return ', '.join(f'{name} {v.split("/")[-1].split()[-1].removeprefix(name.lower())}'
                     for name, v in versions.items())


def times(ratio):
    """Which of two ends of a ratio is ours is said by its size: above one we are better."""
    return f'**{ratio["median"]:.1f}** ({ratio["min"]:.1f}–{ratio["max"]:.1f})' if ratio else '–'


def compare_table(kept, _folder):
    lines = [f'{head(kept, "scripts/bench compare")}; median (least–most) of {kept["repeat"]} runs '
             'in turn; how many times better, of neighbouring runs; '
             + versions_of({n: kept['versions'][n] for n in ('nginx', 'memcached')}) + '.', '',
             '| one core | apus, memif | the same on kernel sockets | peer | apus to the peer | '
             'apus p50 / p99 |', '|---|---|---|---|---|---|']
    for row in ROWS:
        columns = kept['results'].get(row.name)
        if not columns:
            continue
        cells = [with_spread(columns.get(c, {}).get('value')) for c in ('apus', 'twin', 'peer')]
        latency = columns.get('apus', {}).get('latency_ns', {})
        p50, p99 = (latency.get(p, {}).get('median') for p in ('p50', 'p99'))
        lines.append(f'| {row.title} ({row.unit}) | ' + ' | '.join(cells[:2])
                     + f' | {row.peer} {cells[2]} | '
                     + times(kept['ratios'].get(f'{row.name}/peer'))
                     + f' | {f"{span(p50)} / {span(p99)}" if p50 else "–"} |')
    each = kept.get('idle_bytes', {})
    if 'apus' in each:
        others = ', '.join(f'{each[c]:,} of {name} and what the kernel takes' for c, name in
                           (('twin', 'it on kernel sockets'), ('peer', 'nginx')) if c in each)
        lines += ['', f'An idle connection of {IDLE:,} takes {each["apus"]:,} bytes of the server; '
                  f'{others}.']
    return lines


def peers_table(kept, _folder):
    lines = [f'{head(kept, "scripts/bench peers")}; ns, medians; '
             + versions_of({n: v for n, v in kept['results']['versions'].items()
                            if n in RUNTIMES and n not in ('apus', 'asyncio')})
             + '; asyncio of ' + kept['results']['versions'].get('asyncio', '?').removesuffix(
                 ' asyncio') + '.', '',
             '| | ' + ' | '.join(RUNTIMES) + ' |', '|---' * (len(RUNTIMES) + 1) + '|']
    for operation, title in OPERATIONS.items():
        found = kept['results']['operations'].get(operation, {})
        cells = [figure(found[r]['median']) if r in found else '–' for r in RUNTIMES]
        if found:
            lines.append(f'| {title} | **{cells[0]}** | ' + ' | '.join(cells[1:]) + ' |')
    return lines


def compare_pictures(kept, folder):
    half = kept['results'].get('http_half', {})
    return [f'![workloads beside their peers]({folder}/compare.svg)'] + (
        [f'![latency at half load]({folder}/latency.svg)'] if half else [])


def peers_picture(_kept, folder):
    return [f'![operations beside other runtimes]({folder}/primitives.svg)']


def cross_picture(_kept, folder):
    return [f'![from core to core]({folder}/cross.svg)']


BLOCKS = {'compare': ('compare', compare_table), 'compare pictures': ('compare', compare_pictures),
          'peers': ('peers', peers_table), 'peers picture': ('peers', peers_picture),
          'cross picture': ('cross', cross_picture)}


def renew(text, kept, folder):
    """The text of a README with its blocks as the results have them; others stay."""
    for name, (command, block) in BLOCKS.items():
        if command in kept:
            lines = '\n'.join(block(kept[command], folder))
            text = re.sub(rf'(<!-- bench {name} -->\n).*?(<!-- end -->)',
                          lambda m, x=lines: f'{m[1]}{x}\n{m[2]}', text, flags=re.S)
    return text
