"""One layer's part in the agent: its options, its subscriptions, its counts, and what is on the way to it."""

import secrets
from collections.abc import Iterable
from dataclasses import replace

from podmirror_agent.budget import Budget
from podmirror_agent.connection import Shed
from podmirror_agent.fastpath import Run
from podmirror_agent.outbox import Outbox
from podmirror_agent.packetfeed import PacketFeed
from podmirror_wire.frames import Closed, ConnectionFrame, Data, Gap, Omitted, Opened
from podmirror_wire.values import CloseReason, Direction

DEFAULT_WINDOW = 256 * 1024
"""Initial credit of a connection in bytes, unless the options say otherwise: the tunnel's bandwidth-delay product at
50 MB/s and 5 ms."""


class Session:
    """A layer that has authenticated."""

    def __init__(self, budget: Budget) -> None:
        self.identifier = secrets.token_bytes(16)
        self.wants_responder_bytes = False
        self.subscriptions: dict[int, int] = {}
        """Port by request."""
        self.outbox = Outbox(budget, window=DEFAULT_WINDOW)
        self.packets = PacketFeed(self.outbox)
        self.refusal = ""
        """Why no subscription can be had with these options; empty if one can."""
        self.known: dict[int, int | None] = {}
        """Request, and so subscription, by open connection; None once it was closed here before it ended in the pod."""
        self._connections: int = 0
        self._late_joins: int = 0
        self._bytes_seen: int = 0
        self._gaps: int = 0
        self._gap_bytes: int = 0
        self._gap_ends: dict[tuple[int, Direction], int] = {}
        """Of the latest gap of each open connection and direction: one that begins there is a part of it."""
        self._shed_connections: int = 0
        self._shed_bytes: int = 0

    @property
    def ports(self) -> Iterable[int]:
        """The subscribed ports."""
        return self.subscriptions.values()

    def counts(self) -> dict[str, int]:
        """Give what the ledger says of this session alone."""
        return {
            "connections": self._connections,
            "late_joins": self._late_joins,
            "bytes_seen": self._bytes_seen,
            "gaps": self._gaps,
            "gap_bytes": self._gap_bytes,
            "shed_connections": self._shed_connections,
            "shed_bytes": self._shed_bytes,
            "cut_connections": self.outbox.cut_connections,
            "cut_bytes": self.outbox.cut_bytes,
            **({"packets_unsent": self.packets.unsent} if self.packets.mode is not None else {}),
            "waiting_bytes": self.outbox.waiting_bytes,
        }

    def knows(self, connection: int) -> bool:
        """Whether the layer was told of a connection, and may be told more."""
        return self.known.get(connection) is not None

    def listens(self, connection: int) -> bool:
        """Whether bytes of a connection in the audience of which it is are of use to the layer."""
        return connection not in self.known or not self.outbox.is_dismissed(connection)

    def unsubscribe(self, request: int) -> None:
        """End a subscription and close its connections towards the layer, though they go on in the pod."""
        if self.subscriptions.pop(request, None) is not None:
            self.outbox.close_all(lambda number: self.known.get(number) == request, CloseReason.UNSUBSCRIBED)
            self.known = {number: None if of == request else of for number, of in self.known.items()}

    def announce(self, opened: Opened, *, late: bool) -> None:
        """Tell of a connection that is new to this layer; late if it has missed something of it."""
        late = late or opened.late
        port = opened.responder.port
        self.known[opened.connection] = next(
            request for request, subscribed in self.subscriptions.items() if subscribed == port
        )
        self._connections += 1
        self._late_joins += late
        self.outbox.send_for(opened if late is opened.late else replace(opened, late=late))

    def receive_run(self, run: Run) -> None:
        """Take bytes in order, of a connection that the layer knows."""
        stream = run.stream
        if stream.direction is Direction.TO_RESPONDER or self.wants_responder_bytes:
            self._bytes_seen += run.length
            if run.pieces:
                self.outbox.send_run(run)
                return
        self.outbox.send_omitted(stream.connection, stream.direction, run.offset, run.length)

    def receive_event(self, event: ConnectionFrame) -> None:
        """Take what happened to a connection that the layer knows."""
        if isinstance(event, Opened):
            return
        if isinstance(event, Data | Omitted | Gap) and (
            event.direction is Direction.TO_RESPONDER or self.wants_responder_bytes
        ):
            if isinstance(event, Gap):
                flow = (event.connection, event.direction)
                self._gaps += self._gap_ends.get(flow) != event.offset
                self._gap_bytes += event.length
                self._gap_ends[flow] = event.offset + event.length
            else:
                self._bytes_seen += event.length if isinstance(event, Omitted) else len(event.payload)
        elif isinstance(event, Data):
            event = Omitted(event.connection, event.direction, event.offset, len(event.payload))
        elif isinstance(event, Closed):
            for direction in Direction:
                self._gap_ends.pop((event.connection, direction), None)
        self.outbox.send_for(event)

    def receive_shed(self, shed: Shed) -> None:
        """Count connections that are not mirrored."""
        if shed.port in self.ports:
            self._shed_connections += shed.connections
            self._shed_bytes += shed.bytes
