"""Figures as text. No I/O."""

from collections.abc import Callable

from podmirror.compare.spread import Figure, Spread, Unknown

Unit = Callable[[float], str]


def seconds(value: float) -> str:
    """Give a time with a fitting unit and three digits."""
    if abs(value) < 1e-3:
        return f"{value * 1e6:.0f} µs"
    if abs(value) < 1:
        return f"{value * 1e3:.3g} ms" if abs(value) < 0.1 else f"{value * 1e3:.0f} ms"
    return f"{value:.2f} s"


def size(value: float) -> str:
    """Give a number of bytes."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(value) >= factor:
            return f"{value / factor:.1f} {unit}"
    return f"{value:.0f} B"


def number(value: float) -> str:
    """Give a whole number."""
    return f"{value:,.0f}"


def unknown(reason: str) -> str:
    """Say that something is not known, and why."""
    return f"unknown: {reason}"


def figure(value: Figure, unit: Unit) -> str:
    """Give one figure."""
    return unknown(value.reason) if isinstance(value, Unknown) else unit(value)


def spread(value: Spread | Unknown, unit: Unit) -> str:
    """Give the median, and the least and the most where there are several."""
    if isinstance(value, Unknown):
        return unknown(value.reason)
    least, most = unit(value.minimum), unit(value.maximum)
    return unit(value.median) if least == most else f"{unit(value.median)} ({least} to {most})"


def counted(number: int, one: str, many: str = "") -> str:
    """Give a number with what is counted."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
