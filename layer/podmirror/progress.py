"""What is happening, on stderr: a spinner and check marks on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

Style = Literal["auto", "rich", "plain", "none"]


class Progress:
    """Tells steps, notes and the ledger. rich is imported only where there is a terminal to draw on."""

    def __init__(self, style: Style) -> None:
        if style == "auto":
            style = "rich" if sys.stderr.isatty() else "plain"
        self._style = style
        self._console: Console | None = None
        self._live: Live | None = None
        self._spins = False
        if style == "rich":
            import rich.console  # takes a fifth of a second

            self._console = rich.console.Console(stderr=True, highlight=False, emoji=False)

    @contextmanager
    def step(self, doing: str) -> Iterator["Step"]:
        """Show that something is being done, and, when the block ends well, what was done."""
        step = Step(doing)
        if self._console is not None:
            if self._live is not None or self._spins:  # the terminal has room for one thing that moves
                yield step
                self._console.print(f"[green]✓[/green] {_escaped(step.done)}", soft_wrap=True)
                return
            with self._console.status(f"{_escaped(doing)} …"):
                self._spins = True
                try:
                    yield step
                finally:
                    self._spins = False
            self._console.print(f"[green]✓[/green] {_escaped(step.done)}", soft_wrap=True)
        else:
            yield step
            self._write(step.done)

    def aside(self, subject: str) -> "Progress":
        """Give a progress for something that is done beside other things.

        It tells only those steps that leave something behind, and of everything what it is about.
        """
        return _Aside(self, subject)

    def note(self, text: str) -> None:
        """Say something that deserves attention but stops nothing."""
        if self._console is not None:
            self._console.print(f"[yellow]![/yellow] {_escaped(text)}", soft_wrap=True)
        else:
            self._write(text)

    @property
    def is_terminal(self) -> bool:
        """Whether `show` is seen."""
        return self._console is not None

    def show(self, figures: list[tuple[str, str]]) -> None:
        """Keep figures, each with its name, below all that is said, in place of those that were shown before.

        While a step is being done nothing is shown.
        """
        if self._console is None or self._spins:
            return
        from rich.live import Live
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 1))
        table.add_column(style="dim")
        for name, text in figures:
            table.add_row(name, Text(text, no_wrap=True, overflow="ellipsis"))
        if self._live is None:
            self._live = Live(
                console=self._console, auto_refresh=False, transient=True, redirect_stdout=False
            )
            self._live.start()
        self._live.update(table, refresh=True)

    @contextmanager
    def above(self, console: "Console") -> Iterator[None]:
        """Say everything above what somebody else draws on the terminal, for as long as that goes on.

        Args:
            console: Theirs.
        """
        own, spun = self._console, self._spins
        if own is not None:
            self._console, self._spins = console, True
        try:
            yield
        finally:
            self._console, self._spins = own, spun

    def hide(self) -> None:
        """Take away what is shown."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def tell(self, lines: list[str]) -> None:
        """Say the result of a session."""
        for line in lines:
            if self._console is not None:
                self._console.print(_escaped(line), soft_wrap=True)
            else:
                self._write(line)

    def _write(self, text: str) -> None:
        if self._style != "none":
            print(f"podmirror: {text}", file=sys.stderr, flush=True)  # noqa: T201  # this is the terminal's module


class Step:
    """A step that is being done."""

    def __init__(self, doing: str) -> None:
        self.done = doing
        """What to say at its end; the block may put it better than its beginning."""
        self.leaves_something = False
        """Whether it is worth telling even where steps are not."""


class _Aside(Progress):
    """Speaks through another progress."""

    def __init__(self, progress: Progress, subject: str) -> None:
        super().__init__("none")
        self._progress = progress
        self._subject = subject

    @contextmanager
    def step(self, doing: str) -> Iterator[Step]:
        step = Step(doing)
        yield step
        if step.leaves_something:
            self.note(step.done)

    def note(self, text: str) -> None:
        self._progress.note(f"{self._subject}: {text}")


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
