"""From the frames of a pod's connections to finished records of exchanges and connections.

Each connection has a `Conversation` that pairs requests with responses; what that says is gathered into records. A connection
that turns out not to be HTTP/1, or that becomes something else by an upgrade, gives a summary when it closes.

Everything kept is bounded: bodies by a limit each and by one for all that are open, open exchanges by their number. Beyond
those a body is kept no further, and the exchange that has been open longest is given as unfinished.
"""

from collections.abc import Callable, Collection

from podmirror.inspection.connection import Record
from podmirror.inspection.exchange import Exchange
from podmirror.inspection.observed import Observed, Open
from podmirror_wire.frames import Closed, ConnectionFrame, Opened

DEFAULT_BODY_BYTES = 1 << 20
"""Kept of each body: a page or an API's answer whole, and of a download enough to see what it is."""

OPEN_BODY_BYTES = 64 << 20
"""Kept of all bodies of open exchanges together, so that many slow downloads do not fill the memory."""

OPEN_EXCHANGES = 20_000
"""Ten seconds of a busy pod's requests of which none is answered."""


class Assembler:
    """Makes records of the connections of one pod's session."""

    def __init__(
        self,
        pod: str,
        *,
        body_bytes: int = DEFAULT_BODY_BYTES,
        open_body_bytes: int = OPEN_BODY_BYTES,
        open_exchanges: int = OPEN_EXCHANGES,
        is_redacted: Callable[[Exchange], bool] = lambda _: False,
    ) -> None:
        """Begin with no connection.

        Args:
            pod: What the records call it.
            body_bytes: Kept of each body, at most.
            open_body_bytes: Kept of all bodies of open exchanges together, at most.
            open_exchanges: At a time; beyond that the oldest is given as unfinished.
            is_redacted: Tells whether values of a finished exchange are pseudonyms.
        """
        self.pod = pod
        self._open = Open(body_bytes, open_body_bytes)
        self._max_open = open_exchanges
        self._is_redacted = is_redacted
        self._observed: dict[int, Observed] = {}

    @property
    def in_progress(self) -> Collection[Exchange]:
        """Exchanges that are not finished, the oldest first."""
        return self._open.exchanges.values()

    @property
    def open_connections(self) -> int:
        """How many connections may still say something."""
        return len(self._observed)

    def receive_frame(self, frame: ConnectionFrame) -> list[Record]:
        """Take the next frame of any of the connections, and give what it finishes."""
        if isinstance(frame, Opened):
            self._observed[frame.connection] = Observed(self.pod, frame, self._open)
            return []
        observed = self._observed.get(frame.connection)
        if observed is None:
            return []
        finished = observed.receive_frame(frame)
        if isinstance(frame, Closed):
            del self._observed[frame.connection]
        while len(self._open.exchanges) > self._max_open:
            oldest = next(iter(self._open.exchanges.values()))
            finished.append(self._observed[oldest.connection].give_up(oldest))
        return self._marked(finished)

    def abandon(self) -> list[Record]:
        """The session is over: give what was still open."""
        finished: list[Record] = []
        for observed in self._observed.values():
            finished += observed.close(None)
        self._observed.clear()
        return self._marked(finished)

    def _marked(self, finished: list[Record]) -> list[Record]:
        for record in finished:
            if isinstance(record, Exchange):
                record.redacted = self._is_redacted(record)
        return finished
