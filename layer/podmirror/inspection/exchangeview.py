"""The view of exchanges: an assembler for each pod, and one renderer for what they finish."""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import ClassVar

from podmirror.inspection.assembler import Assembler
from podmirror.inspection.connection import Record
from podmirror.inspection.ending import Ending
from podmirror.inspection.exchange import Exchange
from podmirror.inspection.sink import Renderer
from podmirror_wire.frames import ConnectionFrame


class ExchangeView:
    """Shows exchanges, and what is known of connections that are not HTTP/1."""

    settings: ClassVar[Mapping[str, str]] = {"responder": "bytes", "times": "yes"}
    """What it asks of the agents (docs/protocol.md, Options)."""

    def __init__(
        self,
        renderer: Renderer,
        ending: Ending,
        on_enough: Callable[[], None],
        *,
        body_bytes: int,
        is_redacted: Callable[[Exchange], bool] = lambda _: False,
        exchanges_only: bool = False,
    ) -> None:
        """Begin.

        Args:
            renderer: Shows finished records.
            ending: Knows how many are wanted.
            on_enough: Called when so many were shown.
            body_bytes: Kept of each body, at most.
            is_redacted: Tells whether values of a finished exchange are stand-ins.
            exchanges_only: Leave out connections that are not HTTP/1, because exchanges were selected.
        """
        self._renderer = renderer
        self._ending = ending
        self._on_enough = on_enough
        self._body_bytes = body_bytes
        self._is_redacted = is_redacted
        self._exchanges_only = exchanges_only
        self._assemblers: dict[str, Assembler] = {}

    def receive_frame(self, pod: str, frame: ConnectionFrame) -> None:
        """Take the next frame of a connection of a pod."""
        assembler = self._assemblers.get(pod)
        if assembler is None:
            assembler = Assembler(pod, body_bytes=self._body_bytes, is_redacted=self._is_redacted)
            self._assemblers[pod] = assembler
        finished = assembler.receive_frame(frame)
        if finished:
            self._show(finished)

    def in_progress(self) -> Iterator[Exchange]:
        """Give the exchanges that are not finished, the oldest of each pod first."""
        return chain.from_iterable(assembler.in_progress for assembler in self._assemblers.values())

    def finish(self) -> None:
        """Show what is left: no frame comes any more."""
        for assembler in self._assemblers.values():
            self._show(assembler.abandon())
        self._renderer.finish()

    def _show(self, records: list[Record]) -> None:
        if self._exchanges_only:
            records = [each for each in records if isinstance(each, Exchange)]
        wanted = records[: self._ending.take(len(records))]
        for record in wanted:
            self._renderer.receive(record)
        if wanted and self._ending.reached:
            self._on_enough()
