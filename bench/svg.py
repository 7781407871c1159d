# SPDX-License-Identifier: BSD-3-Clause
"""bench/svg.py: the little of SVG that bench/plot.py needs.

Colours are classes, so that one file serves a light and a dark page; the ground is drawn, so that a
page of the other kind does no harm. Nothing is told by colour alone: each bar has its name.
"""

import html
import math

FONT = 'font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif'
# class: (light, dark)
COLOURS = {
    'ground': ('#ffffff', '#0d1117'),
    'ink': ('#1f2328', '#e6edf3'),
    'soft': ('#59636e', '#9198a1'),
    'grid': ('#d8dee4', '#30363d'),
    'apus': ('#2a78d6', '#3987e5'),
    'twin': ('#1b9e77', '#1fa97f'),
    'peer': ('#8a919a', '#8b949e'),
}


def style():
    def rules(which):
        return ''.join(f'.{n}{{fill:{c[which]}}}.{n}-line{{stroke:{c[which]};fill:none}}'
                       for n, c in COLOURS.items())
    return (f'<style>text{{{FONT}}}{rules(0)}'
            f'@media (prefers-color-scheme:dark){{{rules(1)}}}</style>')


class Drawing:
    """Shapes on a ground, in pixels from the upper left corner."""

    def __init__(self, width, height, title):
        self.width, self.height = width, height
        self.parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
                      f'width="{width}" height="{height}" role="img">',
                      f'<title>{html.escape(title)}</title>', style(),
                      f'<rect class="ground" width="{width}" height="{height}" rx="6"/>']

    def text(self, x, y, words, kind='ink', size=12, anchor='start', weight='normal'):
        self.parts.append(f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" font-size="{size}" '
                          f'text-anchor="{anchor}" font-weight="{weight}">'
                          f'{html.escape(str(words))}</text>')

    def line(self, x1, y1, x2, y2, kind, width=1.0):
        self.parts.append(f'<path class="{kind}-line" stroke-width="{width}" '
                          f'd="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"/>')

    def path(self, points, kind, width=2.0):
        d = 'L'.join(f'{x:.1f} {y:.1f}' for x, y in points)
        self.parts.append(f'<path class="{kind}-line" stroke-width="{width}" '
                          f'stroke-linejoin="round" d="M{d}"/>')

    def bar(self, x, y, width, height, kind):
        self.parts.append(f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" '
                          f'width="{max(width, 1):.1f}" height="{height:.1f}" rx="2"/>')

    def dot(self, x, y, kind, radius=4):
        self.parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>')

    def whisker(self, x1, x2, y, half=3):
        """Least to most, across a bar; nothing when they are one pixel."""
        if x2 - x1 < 1.5:
            return
        for a, b, c, d in ((x1, y, x2, y), (x1, y - half, x1, y + half),
                           (x2, y - half, x2, y + half)):
            self.line(a, b, c, d, 'ink', 1.2)

    def __str__(self):
        return '\n'.join([*self.parts, '</svg>']) + '\n'


def number(value):
    """Three digits, as a person would say them: 2.43 M, 152 k, 12.5."""
    for limit, suffix in ((1e9, ' G'), (1e6, ' M'), (1e3, ' k')):
        if value >= limit * 0.9995:
            return f'{rounded(value / limit)}{suffix}'
    return rounded(value)


def rounded(value):
    if value <= 0:
        return '0'
    digits = max(0, 2 - math.floor(math.log10(value)))
    return f'{value:.{min(digits, 2)}f}'


class Linear:
    def __init__(self, most, begin, end):
        self.most, self.begin, self.end = most, begin, end

    def __call__(self, value):
        return self.begin + (self.end - self.begin) * min(value / self.most, 1)


class Log:
    def __init__(self, least, most, begin, end):
        self.least, self.most, self.begin, self.end = least, most, begin, end

    def __call__(self, value):
        share = math.log(max(value, self.least) / self.least) / math.log(self.most / self.least)
        return self.begin + (self.end - self.begin) * share
