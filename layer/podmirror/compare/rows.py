"""What tables are made of: a row for each figure, a cell for each column. No I/O."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from podmirror.compare import words
from podmirror.compare.figures import Column, Run
from podmirror.compare.spread import Figure, Spread, Unknown, spread
from podmirror.compare.words import Unit

REFUSED = "refused"
FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, for each column."""

    name: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """One question."""

    title: str
    note: str
    rows: tuple[Row, ...]


def median_of(column: Column, get: Callable[[Run], Figure]) -> Spread | Unknown:
    """Give a figure of all runs of a mode."""
    return spread(get(run) for run in column.runs)


def row(columns: Sequence[Column], name: str, cell: Callable[[Column], str]) -> Row:
    """Make a row of what a function says of each column; without a run there is nothing to say."""
    without = [REFUSED if column.refusals else FAILED for column in columns]
    return Row(
        name, tuple(cell(each) if each.runs else why for each, why in zip(columns, without, strict=True))
    )


def figures(columns: Sequence[Column], name: str, get: Callable[[Run], Figure], unit: Unit) -> Row:
    """Make a row of the spreads of a figure."""
    return row(columns, name, lambda column: words.spread(median_of(column, get), unit))


def texts(columns: Sequence[Column], name: str, get: Callable[[Run], str]) -> Row:
    """Make a row of what is said of each run; once, if it is the same of all."""
    return row(columns, name, lambda column: "; ".join(dict.fromkeys(get(run) for run in column.runs)))


def shares(
    columns: Sequence[Column],
    name: str,
    arrived: Callable[[Run], Figure],
    passed: Callable[[Run], Figure],
    unit: Unit,
) -> Row:
    """Make a row of how much of all runs arrived, of how much passed."""

    def cell(column: Column) -> str:
        sums = [_sum(column, get) for get in (arrived, passed)]
        reason = next((each.reason for each in sums if isinstance(each, Unknown)), "")
        return words.unknown(reason) if reason else " of ".join(words.figure(each, unit) for each in sums)

    return row(columns, name, cell)


def _sum(column: Column, get: Callable[[Run], Figure]) -> Figure:
    total = 0.0
    for run in column.runs:
        value = get(run)
        if isinstance(value, Unknown):
            return value
        total += value
    return total
