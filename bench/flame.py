# SPDX-License-Identifier: BSD-3-Clause
"""bench/flame.py: a flame graph as an SVG: who called whom, the width is the share.

draw() takes stacks, outermost function first, and how often each was seen. It makes one picture
without scripts: the full name and the share of each box are its tooltip.
"""

import html
import zlib

WIDTH, ROW, LEFT, TOP, LETTER = 1200, 17, 10, 40, 6.6
BOX_MIN = 0.4  # narrower ones are left out


def tree_of(stacks):
    root = {"count": 0, "inner": {}}
    for stack, count in stacks.items():
        node = root
        node["count"] += count
        for name in stack:
            node = node["inner"].setdefault(name, {"count": 0, "inner": {}})
            node["count"] += count
    return root


def colour(name):
    """The same for one name in all pictures; rooms of one folder are not told apart."""
    hue = zlib.crc32(name.encode()) % 55
    return f"hsl({hue},{65 + hue % 20}%,{58 + hue % 12}%)"


def boxes(node, total, x, depth, out):
    """Of all that `node` called, in order of names, so that two pictures can be compared."""
    for name, inner in sorted(node["inner"].items()):
        width = (WIDTH - 2 * LEFT) * inner["count"] / total
        if width >= BOX_MIN:
            out.append((name, inner["count"], x, depth, width))
            boxes(inner, total, x, depth + 1, out)
        x += width


def draw(stacks, title):
    """Return: the text of an SVG"""
    root = tree_of(stacks)
    total = max(root["count"], 1)
    found = []
    boxes(root, total, LEFT, 0, found)
    deepest = max((depth for _, _, _, depth, _ in found), default=0)
    height = TOP + (deepest + 2) * ROW
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'font-family="monospace" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fdfdf8"/>',
        f'<text x="{WIDTH / 2}" y="24" text-anchor="middle" font-size="15">'
        f'{html.escape(title)} ({total:,} samples)</text>',
    ]
    for name, count, x, depth, width in found:
        y = height - (depth + 2) * ROW
        room = int((width - 4) / LETTER)
        shown = name if len(name) <= room else name[:room - 2] + ".." if room > 3 else ""
        lines.append(
            f'<g><title>{html.escape(name)}: {count:,} ({100 * count / total:.1f} %)</title>'
            f'<rect x="{x:.1f}" y="{y}" width="{max(width - 0.5, 0.3):.1f}" height="{ROW - 1}" '
            f'fill="{colour(name)}"/><text x="{x + 3:.1f}" y="{y + 12}">{html.escape(shown)}'
            '</text></g>')
    return "\n".join([*lines, "</svg>", ""])
