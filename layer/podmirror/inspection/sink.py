"""What renderers write to, and what they have in common."""

from typing import Protocol

from podmirror.inspection.connection import Record


class Sink(Protocol):
    """Takes text; every text stream does."""

    def write(self, text: str, /) -> int:
        """Take a text."""

    def flush(self) -> None:
        """See that what was taken is on its way."""


class Renderer(Protocol):
    """Shows finished records."""

    def receive(self, record: Record) -> None:
        """Take a finished exchange or connection."""

    def finish(self) -> None:
        """Write what is left; must be called whatever ends the looking."""
