"""A measurement as a row of numbers, and how rows are summarised. Nothing here measures or prints."""

import math
import random
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

RESAMPLES = 10_000


@dataclass(frozen=True)
class Row:
    """One subject under one load, once."""

    section: str
    load: str
    subject: str
    repeat: int
    values: dict[str, float] = field(default_factory=dict)


def values_of(rows: Iterable[Row], subject: str, key: str) -> list[float]:
    """Give a value of a subject in every repeat that has it."""
    return [row.values[key] for row in rows if row.subject == subject and key in row.values]


def ratios(rows: Sequence[Row], subject: str, base: str, key: str) -> list[float]:
    """Give a value of a subject over the same value of another, each within one repeat; the rows are of one load."""
    bases = {row.repeat: row.values[key] for row in rows if row.subject == base and key in row.values}
    return [
        row.values[key] / bases[row.repeat]
        for row in rows
        if row.subject == subject and key in row.values and bases.get(row.repeat)
    ]


def spread(numbers: Sequence[float]) -> str:
    """Give minimum / median / maximum, or the number where they are one."""
    if not numbers:
        return "-"
    parts = [short(number) for number in (min(numbers), statistics.median(numbers), max(numbers))]
    return parts[0] if len(set(parts)) == 1 else "/".join(parts)


def short(number: float) -> str:
    """Give about three digits: more would be noise."""
    decimals = 0 if number == int(number) or abs(number) >= 99.95 else 1 if abs(number) >= 10 else 2
    return f"{number:,.{decimals}f}"


def mean_with_interval(numbers: Sequence[float], share: float = 0.95) -> tuple[float, float, float]:
    """Give the mean, and the lower and upper end of its percentile bootstrap interval (Efron 1979).

    The resampling is seeded, so the same numbers give the same interval.
    """
    chooser = random.Random(0)  # not for secrets
    means = sorted(statistics.fmean(chooser.choices(numbers, k=len(numbers))) for _ in range(RESAMPLES))
    outside = round(RESAMPLES * (1 - share) / 2)
    return statistics.fmean(numbers), means[outside], means[-1 - outside]


def percentile(numbers: Sequence[float], share: float) -> float:
    """Give the smallest number that is not smaller than that share of the numbers (the nearest rank)."""
    ordered = sorted(numbers)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]
