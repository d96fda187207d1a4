"""A picture of grouped horizontal bars, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

Bar = tuple[float, float, float]
"""Value, and the ends of the line across the bar's end: the lowest and the highest that were measured."""

COLOURS = ("#2a6f97", "#d98324", "#6a994e", "#9a5b9f", "#7a7a7a")
LEFT, WIDTH, RIGHT = 120, 520, 190
"""Pixels of the labels, of the longest bar, and of the values."""
THICK, GAP, TOP = 15, 12, 72
"""Pixels of a bar, between two groups, and above the first."""


def grouped_bars(title: str, groups: Mapping[str, Mapping[str, Bar]]) -> str:
    """The picture of values from 0 to 1, by group and series. The place of a value that is missing stays empty."""
    series = list(dict.fromkeys(name for group in groups.values() for name in group))
    highest = max((high for group in groups.values() for _, _, high in group.values()), default=1)
    unit = WIDTH / max(1, highest)
    step = THICK * len(series) + GAP
    height = TOP + step * len(groups) + 10
    width = LEFT + WIDTH + RIGHT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        _text(12, 22, title, size=15),
        *_legend(series),
        *_grid(unit, height),
    ]
    for number, (label, bars) in enumerate(groups.items()):
        y = TOP + step * number
        lines.append(_text(LEFT - 8, y + THICK * len(series) / 2 + 4, label, anchor="end"))
        for place, name in enumerate(series):
            if name in bars:
                lines += _bar(y + THICK * place, unit, COLOURS[place % len(COLOURS)], bars[name])
    return "\n".join([*lines, "</svg>"]) + "\n"


def _bar(y: float, unit: float, colour: str, bar: Bar) -> list[str]:
    middle = y + THICK / 2
    value, low, high = (LEFT + unit * part for part in bar)
    return [
        f'<rect x="{LEFT}" y="{y + 1:.1f}" width="{value - LEFT:.1f}" height="{THICK - 2}" fill="{colour}"/>',
        f'<path d="M{low:.1f} {middle:.1f}H{high:.1f}M{low:.1f} {middle - 3:.1f}v6M{high:.1f} {middle - 3:.1f}v6" '
        'stroke="black" fill="none"/>',
        _text(max(value, high) + 6, middle + 4, "{:.2f} [{:.2f}–{:.2f}]".format(*bar), size=11),
    ]


def _legend(series: Sequence[str]) -> list[str]:
    lines, x = [], LEFT
    for place, name in enumerate(series):
        lines.append(f'<rect x="{x}" y="36" width="12" height="12" fill="{COLOURS[place % len(COLOURS)]}"/>')
        lines.append(_text(x + 17, 46, name))
        x += 40 + 8 * len(name)
    return lines


def _grid(unit: float, height: int) -> list[str]:
    lines = []
    for part in (0, 0.25, 0.5, 0.75, 1):
        x = LEFT + unit * part
        lines.append(f'<path d="M{x:.1f} {TOP - 4}V{height - 10}" stroke="#cccccc"/>')
        lines.append(_text(x, TOP - 8, f"{part:g}", anchor="middle", size=10))
    return lines


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'
