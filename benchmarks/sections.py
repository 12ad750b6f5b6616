"""What is measured, section by section. A section measures, and says which of its numbers a table shows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from benchmarks.rows import Row


@dataclass(frozen=True)
class Asked:
    """How much of it."""

    repeats: int
    seconds: float
    """Length of each load."""
    tell: Callable[[str], None]
    """Says what is being done."""
    pairs: int = 20
    """Of an app with and without the agent."""
    captures: tuple[str, ...] = ()
    """Parts of the names of the captures that are wanted; all of them if there are none."""

    def wants(self, capture: str) -> bool:
        """Whether a capture is wanted."""
        return not self.captures or any(part in capture for part in self.captures)


@dataclass(frozen=True)
class Column:
    """A number, or the ratio of a number to another subject's within one repeat."""

    heading: str
    key: str
    over: str | None = None
    factor: float = 1.0


@dataclass(frozen=True)
class Section:
    """A part of the benchmarks that can be run alone."""

    name: str
    title: str
    columns: tuple[Column, ...]
    measure: Callable[[Asked], Iterator[Row]]
    notes: Callable[[list[Row]], list[str]] = field(default=lambda _: [])
    """Lines below the tables."""
    needs_compiler: bool = True
    """Whether it runs programs in C."""
