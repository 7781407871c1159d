# SPDX-License-Identifier: BSD-3-Clause
"""bench/plot.py: pictures and the README's tables, from the results that are kept.

Draws SVGs beside the results, bench/results/<kind>/*.svg, and renews what stands in README.md
between '<!-- bench NAME -->' and '<!-- end -->'. Measures nothing.
"""

import json
import pathlib

from bench import tables
from bench.common import RESULTS, ROOT, kind
from bench.svg import Drawing, Linear, Log, number
from bench.workloads import COLUMNS, COLUMN_TEXT, ROWS

NEEDS_SETUP = False
PANEL, NAME, VALUE, BAR = 440, 136, 62, 17  # widths of a panel and its parts; height of a bar
CROSS = {
    'ring/round_trip': ('ring, there and back', 'ns', 1),
    'ring/stream': ('ring, one way, 32 at a time, per message', 'ns', 1),
    'wake': ('wake of one that sleeps', 'µs', 1e-3),
}
# How cross names it: (how we do, class). What is not here is a peer of the same name.
CROSS_TEXT = {'line': ('apus', 'apus'), 'call': ('apus, call', 'apus'),
              'slot': ('flag in a slot', 'twin'), 'slot64': ('flag, line each', 'twin'),
              'cached': ('cached indices', 'twin'), 'rte': ('rte_ring', 'peer'),
              'ck': ('ck_ring', 'peer'), 'eventfd': ('epoll, eventfd', 'peer')}


def options(p):
    p.add_argument('--kind', default=kind(), help='of machine (this one)')
    p.add_argument('--no-readme', action='store_true', help='draw only')


def panels_of(title, panels, foot):
    """Panels in two columns: (title, unit, rows, scale maker); a row: (name, class, spread)."""
    heights = [30 + BAR * len(rows) for _, _, rows, _ in panels]
    pairs = [max(heights[i:i + 2]) for i in range(0, len(heights), 2)]
    d = Drawing(PANEL * 2, 34 + sum(pairs) + 22, title)
    d.text(14, 24, title, size=14, weight='600')
    y = 40
    for i in range(0, len(panels), 2):
        for column, panel in enumerate(panels[i:i + 2]):
            draw_panel(d, column * PANEL, y, *panel)
        y += pairs[i // 2]
    d.text(14, y + 8, foot, 'soft', 11)
    return d


def draw_panel(d, x, y, title, unit, rows, scale_of):
    d.text(x + 14, y + 10, title, size=12, weight='600')
    d.text(x + PANEL - 14, y + 10, unit, 'soft', 11, 'end')
    y += 17
    scale = scale_of([s for _, _, s in rows], x + NAME, x + PANEL - VALUE - 14)
    for name, colour, s in rows:
        middle = y + BAR / 2 - 1
        d.text(x + NAME - 6, middle + 4, name, 'soft', 11, 'end')
        if s is None:
            d.text(x + NAME, middle + 4, 'no figure: see the results', 'soft', 11)
        else:
            d.bar(x + NAME, y + 1, scale(s['median']) - x - NAME, BAR - 5, colour)
            d.whisker(scale(s['min']), scale(s['max']), middle)
            end = max(scale(s['max']), scale(s['median']))
            d.text(end + 6, middle + 4, number(s['median']), 'ink', 11)
        y += BAR


def from_zero(spreads, begin, end):
    return Linear(max([s['max'] for s in spreads if s] or [1]), begin, end)


def from_one(spreads, begin, end):
    """A logarithmic axis that begins at one nanosecond."""
    return Log(1, max([s['max'] for s in spreads if s] + [10]), begin, end)


def foot_of(kept, command):
    m = kept['machine']
    repeat = f', {kept["repeat"]} runs in turn' if 'repeat' in kept else ''
    return (f'{command} at {m["commit"]}: {m["cpu"]}, {m["cores"]} cores, Linux {m["kernel"]}'
            f'{repeat}')


def compare_picture(kept):
    panels = []
    for row in ROWS:
        columns = kept['results'].get(row.name)
        if columns:
            rows = [(row.peer if c == 'peer' else COLUMN_TEXT[c], c, columns[c].get('value'))
                    for c in COLUMNS if c in columns]
            unit = row.unit.replace(' µs', ', µs: less is better')
            panels.append((row.title, unit, rows, from_zero))
    return panels_of('One core for the server, one for the client: median, least to most', panels,
                     foot_of(kept, 'scripts/bench compare'))


def latency_picture(kept):
    """Percentiles at half load: as many nines to the right as there are, time upwards."""
    columns = kept['results'].get('http_half', {})
    curves = {c: columns[c]['latency_ns'] for c in COLUMNS if 'value' in columns.get(c, {})}
    names = ['p50', 'p90', 'p99', 'p99.9', 'p99.99']
    d = Drawing(PANEL * 2, 340, 'Latency at half load')
    d.text(14, 24, 'HTTP at half of what each can, 64 connections, from when a request was due',
           size=14, weight='600')
    left, right, top, bottom = 76, PANEL * 2 - 220, 48, 280
    values = [v for c in curves.values() for p in names for v in (c[p]['min'], c[p]['max'])]
    if not values:
        return None
    least, most = (10.0 ** f for f in tables.decades(min(values), max(values)))
    y, x = Log(least, most, bottom, top), Linear(len(names) - 1, left, right)
    mark = least
    while mark <= most * 1.01:
        d.line(left - 8, y(mark), right + 8, y(mark), 'grid')
        d.text(left - 14, y(mark) + 4, tables.span(mark), 'soft', 11, 'end')
        mark *= 10
    for i, name in enumerate(names):
        d.text(x(i), bottom + 20, name, 'soft', 11, 'middle')
    taken = []
    for c, percentiles in sorted(curves.items(), key=lambda i: i[1]['p99.99']['median']):
        points = [(x(i), y(percentiles[p]['median'])) for i, p in enumerate(names)]
        for (px, _), p in zip(points, names):
            d.line(px, y(percentiles[p]['min']), px, y(percentiles[p]['max']), c, 1.2)
        d.path(points, c)
        for px, py in points:
            d.dot(px, py, c)
        at = points[-1][1] + 4
        while any(abs(at - t) < 15 for t in taken):
            at -= 15
        taken.append(at)
        text = 'nginx' if c == 'peer' else COLUMN_TEXT[c]
        d.text(right + 14, at, f'{text}, {number(columns[c]["rate"])}/s', c, 12, weight='600')
    d.text(14, 326, foot_of(kept, 'scripts/bench compare'), 'soft', 11)
    return d


def primitives_picture(kept):
    panels = []
    for operation, title in tables.OPERATIONS.items():
        runtimes = kept['results']['operations'].get(operation, {})
        rows = [(name, 'apus' if name == 'apus' else 'peer', s) for name, s in
                sorted(runtimes.items(), key=lambda i: (i[0] != 'apus', i[1]['median']))]
        if rows:
            panels.append((title, 'ns, logarithmic', rows, from_one))
    return panels_of('What an operation costs, beside other runtimes', panels,
                     foot_of(kept, 'scripts/bench peers'))


def cross_picture(kept):
    panels = []
    for prefix, (title, unit, scale) in CROSS.items():
        found = {n.rsplit('/', 1)[1]: v for n, v in kept['results'].items()
                 if n.rsplit('/', 1)[0] == prefix}
        rows = [(*CROSS_TEXT.get(n, (n, 'peer')), {k: v[k] * scale for k in v})
                for n, v in found.items()]
        rows.sort(key=lambda r: (r[1] != 'apus', r[2]['median']))
        if rows:
            panels.append((title, unit, rows, from_zero))
    return panels_of('From core to core: less is better', panels,
                     foot_of(kept, 'scripts/bench cross'))


PICTURES = {'compare': ('compare', compare_picture), 'latency': ('compare', latency_picture),
            'primitives': ('peers', primitives_picture), 'cross': ('cross', cross_picture)}


def run(args):
    folder = RESULTS / args.kind
    kept = {p.stem: json.loads(p.read_text()) for p in sorted(folder.glob('*.json'))}
    for name, (command, picture) in PICTURES.items():
        drawing = picture(kept[command]) if command in kept else None
        if drawing:
            path = folder / f'{name}.svg'
            path.write_text(str(drawing))
            print(f'drawn {path.relative_to(ROOT)}')
        else:
            print(f'{name}: nothing to draw; scripts/bench {command}, then scripts/bench keep')
    if not args.no_readme:
        readme = pathlib.Path(ROOT / 'README.md')
        text = tables.renew(readme.read_text(), kept, folder.relative_to(ROOT))
        if text != readme.read_text():
            readme.write_text(text)
            print('renewed README.md')
