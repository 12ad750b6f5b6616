"""Figures that may be unknown, and what several of them have in common. No I/O."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Unknown:
    """A figure that was not measured."""

    reason: str


Figure = float | Unknown


@dataclass(frozen=True, slots=True)
class Spread:
    """The same figure of several runs."""

    minimum: float
    median: float
    maximum: float
    count: int

    def overlaps(self, other: "Spread") -> bool:
        """Whether the two cannot be told apart by so few runs."""
        return self.minimum <= other.maximum and other.minimum <= self.maximum


def spread(values: Iterable[Figure]) -> Spread | Unknown:
    """Give the spread of those values that are known; the first reason, if none is."""
    values = list(values)
    known = [value for value in values if not isinstance(value, Unknown)]
    if known:
        return Spread(min(known), median(known), max(known), len(known))
    reasons = [value.reason for value in values if isinstance(value, Unknown)]
    return Unknown(reasons[0] if reasons else "nothing was measured")


def quantile(values: Sequence[float], share: float) -> Figure:
    """Give the smallest value that at least this share of the values does not exceed (the nearest rank)."""
    if not values:
        return Unknown("nothing was measured")
    ordered = sorted(values)
    rank = max(1, -int(-share * len(ordered) // 1))
    return ordered[rank - 1]
