"""What `podmirror inspect` shows, and where: on a terminal in place, elsewhere as text that is written by a thread.

Looking ends by itself when enough was seen, when the time is up, or when nobody reads any more.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from podmirror.errors import OutputLost
from podmirror.inspection.assembler import DEFAULT_BODY_BYTES
from podmirror.inspection.connections import ConnectionLines
from podmirror.inspection.ending import Ending
from podmirror.inspection.exchangeview import ExchangeView
from podmirror.inspection.har import HarRenderer
from podmirror.inspection.jsonl import JsonLinesRenderer
from podmirror.inspection.lines import BODIES, PlainRenderer
from podmirror.inspection.outlet import Outlet
from podmirror.inspection.screen import Screen
from podmirror.inspection.sink import Renderer
from podmirror.inspection.stand_ins import redaction_detector
from podmirror.inspection.view import NoView
from podmirror.progress import Progress
from podmirror_http.redaction import Rules
from podmirror_wire.frames import ConnectionFrame

if TYPE_CHECKING:
    from podmirror.inspection.live import LiveRenderer

Format = Literal["text", "jsonl", "har", "connections", "nothing"]

CLOSE_SECONDS = 5.0
"""For a slow reader to take the rest, at the end."""

TEXT_BODY_BYTES = 64 * 1024
"""Kept of a body that is shown to a reader, in part: to indent JSON it must be whole."""


@dataclass(frozen=True, slots=True)
class Viewing:
    """What is to be shown, and until when."""

    output: Format = "text"
    verbosity: int = 0
    """How often `-v` was given."""
    count: int | None = None
    """Exchanges or connections, after which it is over."""
    duration: float | None = None
    """Seconds, after which it is over."""
    exchanges_only: bool = False
    """Whether connections that are not HTTP/1 are left out, because exchanges are selected."""

    @property
    def settings(self) -> Mapping[str, str]:
        """What the view asks of the agents."""
        match self.output:
            case "connections":
                return ConnectionLines.settings
            case "nothing":
                return NoView.settings
        return ExchangeView.settings


class Showing:
    """A view, and standard output below it. It is a `View` itself."""

    def __init__(
        self,
        viewing: Viewing,
        progress: Progress,
        on_room: Callable[[], None],
        redaction: Rules | None = None,
    ) -> None:
        """Begin; must be called in an event loop.

        Args:
            viewing: What is to be shown.
            progress: Says what else there is to say.
            on_room: Called when a reader that was too slow has caught up.
            redaction: What the agents redact besides the usual; None if they redact nothing.
        """
        self.figures: Callable[[], list[tuple[str, str]]] = list
        """Gives what a live view says below its table."""
        self._exchanges_only = viewing.exchanges_only
        self._ending = Ending(viewing.count)
        self._duration = viewing.duration
        self._progress = progress
        self._is_redacted = redaction_detector(redaction)
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._leaving = ExitStack()
        self._outlet: Outlet | None = None
        self._screen: Screen | None = None
        self._live: LiveRenderer | None = None
        self._view: ExchangeView | ConnectionLines | NoView
        if viewing.output == "nothing":
            self._view = NoView()
            return
        if viewing.output == "text" and not viewing.verbosity and _draws():
            self._view = self._drawn()
            return
        self._outlet = Outlet(
            sys.stdout,
            on_failure=lambda _: self._from_thread(self._over.set),
            on_room=lambda: self._from_thread(on_room),
        )
        self._view = self._written(viewing, self._outlet)

    @property
    def is_full(self) -> bool:
        """Whether the reader is too slow for more to be taken."""
        return self._outlet is not None and self._outlet.is_full

    def receive_frame(self, pod: str, frame: ConnectionFrame) -> None:
        """Take the next frame of a connection of a pod."""
        self._view.receive_frame(pod, frame)

    def begin(self) -> None:
        """Something can be seen from now on."""
        if self._duration is not None:
            self._leaving.callback(self._loop.call_later(self._duration, self._over.set).cancel)
        if self._live is not None:
            self._leaving.enter_context(self._progress.above(self._live.console))
            self._screen = Screen(self._live.draw)

    async def wait(self) -> None:
        """Wait until it is over."""
        await self._over.wait()

    def finish(self) -> None:
        """Show the rest: no frame comes any more."""
        self._view.finish()

    async def leave(self) -> None:
        """Show the rest, and let go of the terminal."""
        with self._leaving:
            try:
                if self._screen is not None:
                    await self._screen.stop()
            finally:
                self.finish()
        if self._outlet is not None:
            await asyncio.to_thread(self._outlet.close, CLOSE_SECONDS)

    def check(self) -> None:
        """See whether everything was written; a reader that left when it had enough is no failure.

        Raises:
            OutputLost: It was not.
        """
        if self._outlet is None:
            return
        failure = self._outlet.failure
        if failure is not None:
            _forget_output()
            if not isinstance(failure, BrokenPipeError):
                raise OutputLost(
                    f"the output could not be written: {failure.strerror}; what is there ends early"
                )
        elif self._outlet.backlog:
            raise OutputLost("the reader of the output did not take the rest of it in time")

    def _written(self, viewing: Viewing, outlet: Outlet) -> ExchangeView | ConnectionLines:
        match viewing.output:
            case "connections":
                return ConnectionLines(outlet, self._ending, self._over.set)
            case "jsonl":
                return self._exchanges(JsonLinesRenderer(outlet), DEFAULT_BODY_BYTES)
            case "har":
                return self._exchanges(HarRenderer(outlet), DEFAULT_BODY_BYTES)
        kept = TEXT_BODY_BYTES if viewing.verbosity >= BODIES else 0
        return self._exchanges(PlainRenderer(outlet, viewing.verbosity), kept)

    def _drawn(self) -> ExchangeView:
        from rich.console import Console  # takes a fifth of a second

        from podmirror.inspection.live import LiveRenderer

        console = Console(highlight=False, emoji=False)
        self._live = LiveRenderer(console, lambda: view.in_progress(), lambda: self.figures())  # noqa: PLW0108  # both are made later
        view = self._exchanges(self._live, 0)
        return view

    def _exchanges(self, renderer: Renderer, body_bytes: int) -> ExchangeView:
        return ExchangeView(
            renderer,
            self._ending,
            self._over.set,
            body_bytes=body_bytes,
            is_redacted=self._is_redacted,
            exchanges_only=self._exchanges_only,
        )

    def _from_thread(self, call: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is over
            self._loop.call_soon_threadsafe(call)


def _draws() -> bool:
    """Whether standard output is a terminal in which something can be drawn over."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in {"dumb", "unknown"}


def _forget_output() -> None:
    """Keep Python from trying once more, at its end, to write what cannot be written."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
