"""A small scatter plot as an SVG: quality against what it costs, on a logarithmic axis. Pure function of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.tabs.views import esc

WIDE, HIGH = 340, 246  # of the whole drawing, in its own pixels
LEFT, RIGHT, TOP, BOTTOM = 44, 22, 24, 42  # margins around the axes


@dataclass(frozen=True)
class Point:
    """A mark: its number in the table, where it is, its interval, and whether it is a baseline (a square)."""

    number: int
    name: str
    x: float  # above 0
    y: float
    low: float
    high: float
    baseline: bool


def scatter(points: Sequence[Point], x_label: str, y_label: str, falling: bool = False) -> str:
    """The plot; better is always higher, so with `falling` the axis of quality runs downwards.

    Every mark has its number beside it, and the text alternative names them all. Needs at least one point.
    """
    bottom, top, step = _span([value for one in points for value in (one.low, one.y, one.high)])
    first, last = _decades([one.x for one in points])

    def across(x: float) -> float:
        return LEFT + (math.log10(x) - first) / (last - first) * (WIDE - LEFT - RIGHT)

    def up(y: float) -> float:
        share = (y - bottom) / (top - bottom)
        return TOP + (share if falling else 1 - share) * (HIGH - TOP - BOTTOM)

    parts = [f'<text x="2" y="12">{esc(y_label)}</text>']
    for i in range(round((top - bottom) / step) + 1):
        y = bottom + i * step
        parts.append(f'<path class="mz-line" d="M{LEFT} {up(y):.1f}H{WIDE - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{up(y) + 4:.1f}" text-anchor="end">{y:g}</text>')
    for power in range(first, last + 1):
        x = across(10.0**power)
        parts.append(f'<path class="mz-line" d="M{x:.1f} {TOP}V{HIGH - BOTTOM}"/>')
        parts.append(f'<text x="{x:.1f}" y="{HIGH - BOTTOM + 15}" text-anchor="middle">{10.0**power:,g}</text>')
    parts.append(f'<text x="{(WIDE + LEFT) / 2}" y="{HIGH - 6}" text-anchor="middle">{esc(x_label)}</text>')
    for one in points:
        x, y = across(one.x), up(one.y)
        parts.append(f'<path class="mz-range" d="M{x:.1f} {up(one.low):.1f}V{up(one.high):.1f}"/>')
        if one.baseline:
            parts.append(f'<rect class="mz-there" x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10"/>')
        else:
            parts.append(f'<circle class="mz-here" cx="{x:.1f}" cy="{y:.1f}" r="6"/>')
        parts.append(f'<text class="mz-nth" x="{x + 10:.1f}" y="{y + 4:.1f}">{one.number}</text>')
    told = "; ".join(f"{one.name} {one.y:g} at {one.x:g}" for one in points)
    label = esc(f"{y_label} against {x_label}: {told}")
    return f'<svg class="mz-plot" viewBox="0 0 {WIDE} {HIGH}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _span(values: Sequence[float]) -> tuple[float, float, float]:
    """Round ends of an axis around the values, and the step between its ticks."""
    low, high = min(values), max(values)
    wanted = (high - low or abs(high) or 1.0) / 4
    power = 10.0 ** math.floor(math.log10(wanted))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= wanted)
    bottom = math.floor(low / step) * step
    top = math.ceil(high / step) * step
    return bottom, top if top > bottom else bottom + step, step


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """Powers of ten around the values, at least one apart."""
    first, last = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return first, max(last, first + 1)
