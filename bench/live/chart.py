"""A picture of grouped horizontal bars, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

Bar = tuple[float, float, float]
"""Value, and the ends of the line across the bar's end: the lowest and the highest that were measured."""

COLOURS = ("#2a6f97", "#d98324", "#6a994e", "#9a5b9f", "#7a7a7a")
LEFT, WIDTH, RIGHT = 120, 520, 190
"""Pixels of the labels, of the bars up to 1, and of the values."""
THICK, GAP, TOP = 15, 12, 72
"""Pixels of a bar, between two groups, and above the first."""


def grouped_bars(title: str, groups: Mapping[str, Mapping[str, Bar]]) -> str:
    """Parts of 1 by label and series. What is missing in a group leaves its place empty."""
    series = list(dict.fromkeys(name for group in groups.values() for name in group))
    step = THICK * len(series) + GAP
    height = TOP + step * len(groups) + 10
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + RIGHT} {height}" '
        f'width="{LEFT + WIDTH + RIGHT}" height="{height}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        _text(12, 22, title, size=15),
        *_legend(series),
        *_grid(height),
    ]
    for number, (label, bars) in enumerate(groups.items()):
        y = TOP + step * number
        lines.append(_text(LEFT - 8, y + THICK * len(series) / 2 + 4, label, anchor="end"))
        for place, name in enumerate(series):
            if name in bars:
                lines += _bar(y + THICK * place, COLOURS[place % len(COLOURS)], bars[name])
    return "\n".join([*lines, "</svg>"]) + "\n"


def _bar(y: float, colour: str, bar: Bar) -> list[str]:
    value, low, high = bar
    middle = y + THICK / 2
    return [
        f'<rect x="{LEFT}" y="{y + 1:.1f}" width="{WIDTH * value:.1f}" height="{THICK - 2}" fill="{colour}"/>',
        f'<path d="M{_x(low):.1f} {middle:.1f}H{_x(high):.1f}M{_x(low):.1f} {middle - 3:.1f}v6'
        f'M{_x(high):.1f} {middle - 3:.1f}v6" stroke="black" fill="none"/>',
        _text(_x(max(value, high)) + 6, middle + 4, f"{value:.2f} [{low:.2f}–{high:.2f}]", size=11),
    ]


def _legend(series: Sequence[str]) -> list[str]:
    lines, x = [], float(LEFT)
    for place, name in enumerate(series):
        colour = COLOURS[place % len(COLOURS)]
        lines.append(f'<rect x="{x:.0f}" y="36" width="12" height="12" fill="{colour}"/>')
        lines.append(_text(x + 17, 46, name))
        x += 40 + 8 * len(name)
    return lines


def _grid(height: int) -> list[str]:
    lines = []
    for part in (0, 0.25, 0.5, 0.75, 1):
        lines.append(f'<path d="M{_x(part):.1f} {TOP - 4}V{height - 10}" stroke="#cccccc"/>')
        lines.append(_text(_x(part), TOP - 8, f"{part:g}", anchor="middle", size=10))
    return lines


def _x(part: float) -> float:
    return LEFT + WIDTH * part


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'
