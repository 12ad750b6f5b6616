"""One layer's part in the agent: its options, its subscriptions, its counts, and what is on the way to it."""

import re
import secrets
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from podmirror_agent.budget import Budget
from podmirror_agent.connection import Shed, endpoint
from podmirror_agent.digests import Digests
from podmirror_agent.fastpath import Run
from podmirror_agent.outbox import Outbox
from podmirror_agent.packetfeed import PacketFeed, PacketMode
from podmirror_agent.sample import in_sample
from podmirror_agent.segment import Fragment, Segment, Undecoded
from podmirror_wire.errors import ProtocolError
from podmirror_wire.frames import Closed, ConnectionFrame, Data, Digest, Ended, Gap, Omitted, Opened, Timed
from podmirror_wire.values import EVERY_PORT, CloseReason, Direction

if TYPE_CHECKING:
    from podmirror_agent.beginnings import Beginnings
    from podmirror_agent.screen import Screen

DEFAULT_WINDOW = 256 * 1024
"""Initial credit of a connection in bytes, unless the options say otherwise: the tunnel's bandwidth-delay product at
50 MB/s and 5 ms."""


MAX_WINDOW = 64 << 20

_SENDS = {"initiator": Direction.TO_RESPONDER, "responder": Direction.TO_INITIATOR}
"""Options that say what is sent of what an end says."""


class Session:
    """A layer that has authenticated."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.identifier = secrets.token_bytes(16)
        self.sends = {Direction.TO_RESPONDER: True, Direction.TO_INITIATOR: False}
        """Whether the bytes of a direction are sent, or only how many there are."""
        self.wants_times = False
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
        self._digests: Digests | None = None
        self._screen: Screen | None = None
        """What selects and redacts, if that was asked for."""
        self._beginnings: Beginnings | None = None
        """What recognises connections that cannot be redacted."""
        self._times: dict[int, int] = {}
        """What was last told of each connection, nanoseconds since 1970."""
        self._sample: float = 1.0
        self._sampled_out: int = 0
        self._gap_ends: dict[tuple[int, Direction], int] = {}
        """Of the latest gap of each open connection and direction: one that begins there is a part of it."""
        self._shed_connections: int = 0
        self._shed_bytes: int = 0

    @property
    def ports(self) -> Iterable[int]:
        """The subscribed ports; `EVERY_PORT` may be among them."""
        return self.subscriptions.values()

    def request_for(self, port: int) -> int | None:
        """Give the subscription to which connections with that responder's port belong."""
        return next(
            (
                request
                for request, subscribed in self.subscriptions.items()
                if subscribed in (port, EVERY_PORT)
            ),
            None,
        )

    def needs(self, direction: Direction) -> bool:
        """Whether it is of use to have the bytes of that direction."""
        return self.sends[direction] or self._digests is not None or self._screen is not None

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
            "sampled_out_connections": self._sampled_out,
            "cut_connections": self.outbox.cut_connections,
            "cut_bytes": self.outbox.cut_bytes,
            **({"packets_unsent": self.packets.unsent} if self.packets.mode is not None else {}),
            "waiting_bytes": self.outbox.waiting_bytes,
            **(self._screen.counts() if self._screen is not None else {}),
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
            gone = [number for number, of in self.known.items() if of == request]
            if self._screen is not None:
                self._screen.forget(gone)
            if self._beginnings is not None:
                self._beginnings.forget(gone)
            for number in gone:
                self._forget(number)
            self.outbox.close_all(lambda number: self.known.get(number) == request, CloseReason.UNSUBSCRIBED)
            self.known = {number: None if of == request else of for number, of in self.known.items()}

    def receive_option(self, name: str, value: str) -> bool:
        """Take an option, and say whether there is one of that name with that value."""
        if name in _SENDS and value in ("bytes", "lengths"):
            self.sends[_SENDS[name]] = value == "bytes"
        elif name == "window" and re.fullmatch("[1-9][0-9]{0,7}", value) and int(value) <= MAX_WINDOW:
            self.outbox.window = int(value)
        elif (name, value) == ("times", "yes"):
            self.wants_times = True
        elif (name, value) == ("digests", "yes"):
            self._digests = Digests()
        elif name == "sample" and re.fullmatch(r"0?\.[0-9]{1,9}|1(\.0+)?", value):
            self._sample = float(value)
        elif name in ("select", "redact"):
            self._receive_terms(name, value)
        else:
            return self.packets.receive_option(name, value)
        return True

    def _receive_terms(self, name: str, text: str) -> None:
        if self._screen is None:
            from podmirror_agent.screen import (
                Screen,
            )  # a parser and its patterns, which most sessions never need

            self._screen = Screen(self._budget, self.sends)
        if name == "redact" and self._beginnings is None:
            from podmirror_agent.beginnings import Beginnings  # as above

            self._beginnings = Beginnings(self._budget)
        try:
            (self._screen.select if name == "select" else self._screen.redact)(text)
        except ValueError as error:
            raise ProtocolError(str(error)) from None

    def samples(self, opened: Opened) -> bool:
        """Whether a connection is in this session's sample."""
        return in_sample(opened.initiator, opened.responder, self._sample)

    @property
    def wants_every_packet(self) -> bool:
        """Whether packets are not narrowed by the subscribed ports to those of TCP."""
        return EVERY_PORT in self.ports or bool(self.packets.expression)

    def wants_packet(self, decoded: Segment | Fragment | Undecoded) -> bool:
        """Whether a packet is among those that the session asked for.

        What nobody can tell the port of, a fragment for one, may be of any connection, and so it is.
        """
        if decoded is Undecoded.NOT_TCP:
            return self.packets.mode is PacketMode.OTHERS or self.wants_every_packet
        if not self.packets.wants_tcp or not isinstance(decoded, Segment):
            return self.packets.wants_tcp
        ports = (decoded.source_port, decoded.destination_port)
        if all(self.request_for(port) is None for port in ports):
            return False
        if self._sample >= 1:
            return True  # of every packet it is too much to write its addresses
        source, destination = (decoded.source, ports[0]), (decoded.destination, ports[1])
        return in_sample(endpoint(source), endpoint(destination), self._sample)

    def count_sampled_out(self) -> None:
        """Count a connection that is not."""
        self._sampled_out += 1

    def announce(self, opened: Opened, *, late: bool) -> None:
        """Tell of a connection that is new to this layer; late if it has missed something of it."""
        late = late or opened.late
        self.known[opened.connection] = self.request_for(opened.responder.port)
        self._connections += 1
        self._late_joins += late
        if self._screen is not None:
            self._screen.open(opened.connection, late=late)
        if self._beginnings is not None:
            self._beginnings.open(opened.connection, late=late)
        self.outbox.send_for(opened if late is opened.late else replace(opened, late=late))

    def receive_run(self, run: Run) -> None:
        """Take bytes in order, of a connection that the layer knows."""
        stream = run.stream
        if self._screen is not None:
            self._screen_run(run)
            return
        self._tell_time(stream.connection, run.pod_time)
        if run.pieces and self._digests is not None:
            self._digests.update(stream.connection, stream.direction, *run.pieces)
        if self.needs(stream.direction):
            self._bytes_seen += run.length
        if self.sends[stream.direction] and run.pieces:
            self.outbox.send_run(run)
        else:
            self.outbox.send_omitted(stream.connection, stream.direction, run.offset, run.length)

    def _screen_run(self, run: Run) -> None:
        stream = run.stream
        event: Data | Omitted = Omitted(stream.connection, stream.direction, run.offset, run.length)
        if run.pieces:
            event = Data(stream.connection, stream.direction, run.offset, b"".join(run.pieces))
        self.receive_event(event, run.pod_time)

    def receive_event(self, event: ConnectionFrame, pod_time: int) -> None:
        """Take what happened to a connection that the layer knows."""
        if isinstance(event, Opened):
            return
        if self._screen is None:
            self._tell_time(event.connection, pod_time)
        self._read(event)
        if isinstance(event, Data | Omitted | Gap) and self.needs(event.direction):
            if isinstance(event, Gap):
                flow = (event.connection, event.direction)
                self._gaps += self._gap_ends.get(flow) != event.offset
                self._gap_bytes += event.length
                self._gap_ends[flow] = event.offset + event.length
            else:
                self._bytes_seen += event.length if isinstance(event, Omitted) else len(event.payload)
        if self._screen is not None and self._pass_screen(self._screen, event, pod_time):
            return
        if isinstance(event, Data) and not self.sends[event.direction]:
            event = Omitted(event.connection, event.direction, event.offset, len(event.payload))
        elif isinstance(event, Closed):
            for digest in self._forget(event.connection):
                self.outbox.send_for(digest)
        self.outbox.send_for(event)

    def _forget(self, connection: int) -> list[Digest]:
        """Keep nothing more of a connection, and give what was seen of it."""
        self._times.pop(connection, None)
        for direction in Direction:
            self._gap_ends.pop((connection, direction), None)
        return self._digests.finish(connection) if self._digests is not None else []

    def _pass_screen(self, screen: "Screen", event: ConnectionFrame, pod_time: int) -> bool:
        """Send what the screen lets pass now; whether the event itself is settled by that."""
        settled = isinstance(event, Data | Omitted | Gap | Ended)
        if isinstance(event, Data | Omitted | Gap | Ended):
            passed = screen.receive_event(event, pod_time)
        else:
            passed = screen.close(event.connection, pod_time)
        for time, frame in passed:
            self._tell_time(frame.connection, time)
            self.outbox.send_for(frame)
        return settled

    def _read(self, event: ConnectionFrame) -> None:
        """Take the digests, and tell what a connection is of which the bytes may not be sent."""
        if isinstance(event, Data) and self._digests is not None:
            self._digests.update(event.connection, event.direction, event.payload)
        if self._beginnings is None:
            return
        found = None
        if isinstance(event, Data):
            found = self._beginnings.receive_data(event)
        elif isinstance(event, Closed):
            found = self._beginnings.close(event.connection)
        if found is not None:
            self.outbox.send_for(found)

    def settle(self, pod_time: int) -> None:
        """Decide what still waits, before the connections are closed."""
        if self._screen is not None:
            for connection in self._screen.connections:
                for _, frame in self._screen.close(connection, pod_time):
                    self.outbox.send_for(frame)

    def discard(self) -> None:
        """Drop everything; the layer is gone."""
        if self._screen is not None:
            self._screen.forget(self._screen.connections)
        if self._beginnings is not None:
            self._beginnings.discard()
        self.outbox.discard()

    def _tell_time(self, connection: int, pod_time: int) -> None:
        if self.wants_times and self._times.get(connection) != pod_time:
            self._times[connection] = pod_time
            self.outbox.send_for(Timed(connection, pod_time))

    def receive_shed(self, shed: Shed) -> None:
        """Count connections that are not mirrored."""
        if self.request_for(shed.port) is not None:
            self._shed_connections += shed.connections
            self._shed_bytes += shed.bytes
