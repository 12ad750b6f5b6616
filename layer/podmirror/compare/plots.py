"""Plots as inline SVG, drawn by hand: a few rectangles, lines and words. No I/O.

Each is 360 units wide, the width of a telephone, so that its words are as large as those around it. Colours are classes, for
the page's light and dark style to set; what is told by colour is told by words, too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from math import ceil, floor, log10

from podmirror.compare.spread import Spread

WIDTH = 360
BAR, LEFT = 10, 84
_LETTER = 6.6
"""Widest average of a letter at the size of the words."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a row."""

    series: int
    begin: float
    end: float
    label: str
    whisker: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class BarRow:
    """A row of bars, one for each series."""

    name: str
    bars: tuple[Bar, ...]


def bars(title: str, description: str, rows: Sequence[BarRow]) -> str:
    """Draw rows of horizontal bars that share a scale.

    Args:
        title: What it shows, in a few words.
        description: What is to be seen, for those who do not see it.
        rows: From top to bottom.
    """
    ends = [max(bar.end, bar.whisker[1] if bar.whisker else 0) for row in rows for bar in row.bars]
    longest = max((len(bar.label) for row in rows for bar in row.bars), default=0)
    scale = (WIDTH - LEFT - longest * _LETTER - 10) / (max(ends, default=0) or 1)
    step = 4 + max((len(row.bars) for row in rows), default=1) * (BAR + 4)
    height = len(rows) * (step + 6) + 4
    return _svg(title, description, height, _bars(rows, scale, step + 6))


def _bars(rows: Sequence[BarRow], scale: float, step: float) -> Iterator[str]:
    for number, row in enumerate(rows):
        top = number * step + 4
        yield _text(LEFT - 8, top + (step - 6) / 2 + 3, row.name, anchor="end")
        top += (step - 6 - 4 - len(row.bars) * (BAR + 4)) / 2
        for place, bar in enumerate(row.bars):
            y = top + place * (BAR + 4) + 2
            x, width = LEFT + bar.begin * scale, max(1.5, (bar.end - bar.begin) * scale)
            yield f'<rect class="series{bar.series}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BAR}" rx="2"/>'
            right = x + width
            if bar.whisker is not None and bar.whisker[0] != bar.whisker[1]:
                low, high = (LEFT + each * scale for each in bar.whisker)
                ends = "".join(f"M{each:.1f} {y + 1:.1f}v{BAR - 2}" for each in (low, high))
                yield f'<path class="whisker" d="M{low:.1f} {y + BAR / 2:.1f}H{high:.1f}{ends}"/>'
                right = max(right, high)
            yield _text(right + 5, y + BAR - 1, bar.label)


def distribution(title: str, description: str, series: Sequence[tuple[int, Sequence[float]]]) -> str:
    """Draw the share of values that are at most x, over a logarithmic x in seconds.

    Args:
        title: As of `bars`.
        description: As of `bars`.
        series: Its number and values; those without values are left out.
    """
    drawn = [(number, sorted(max(1e-6, each) for each in values)) for number, values in series if values]
    if not drawn:
        return ""
    low = floor(log10(min(values[0] for _, values in drawn)))
    high = max(low + 1, ceil(log10(max(values[-1] for _, values in drawn))))
    return _svg(title, description, 190, _distribution(drawn, low, high))


def _distribution(drawn: Sequence[tuple[int, list[float]]], low: int, high: int) -> Iterator[str]:
    left, right, top, bottom = 40, WIDTH - 22, 10, 160
    for share in (0, 0.5, 0.9, 1):
        y = bottom - share * (bottom - top)
        yield f'<path class="grid" d="M{left} {y:.1f}H{right}"/>' + _text(
            left - 5, y + 4, f"{share:.0%}", anchor="end"
        )
    for power in range(low, high + 1):
        x = left + (power - low) / (high - low) * (right - left)
        yield f'<path class="grid" d="M{x:.1f} {top}V{bottom}"/>' + _text(
            x, bottom + 18, _power(power), anchor="middle"
        )
    for number, values in drawn:
        steps = [
            (
                left + (log10(value) - low) / (high - low) * (right - left),
                bottom - rank / len(values) * (bottom - top),
            )
            for rank, value in enumerate(values, 1)
        ]
        path = f"M{steps[0][0]:.1f} {bottom}V{steps[0][1]:.1f}"
        path += "".join(f"H{x:.1f}V{y:.1f}" for (_, before), (x, y) in pairwise(steps) if y != before)
        yield f'<path class="line series{number}" d="{path}H{right}"/>'


def _power(power: int) -> str:
    unit, factor = ("s", 0) if power >= 0 else ("ms", 3) if power >= -3 else ("µs", 6)
    return f"{10 ** (power + factor):g} {unit}"


def whisker_of(spread: Spread) -> tuple[float, float]:
    """Give the ends of a whisker."""
    return spread.minimum, spread.maximum


def _svg(title: str, description: str, height: float, parts: Iterator[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}: {escape(description)}">'
        f"{''.join(parts)}</svg>"
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
