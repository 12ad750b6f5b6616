"""From packets to the frames of each session: the agent's core, with all of its rules and none of its I/O.

Several layers may be connected at a time, each with its own subscriptions. Packets are decoded and reassembled once; each
connection's events go to the sessions that subscribed its port, its audience. A session that subscribes while a connection is
already being followed learns of it as a late join at its next event: what it has missed before is unknown to it.
"""

import re
from collections.abc import Callable, Iterable
from mmap import mmap
from typing import NamedTuple

from podmirror_agent.budget import Budget
from podmirror_agent.connection import ConnectionEvent, Shed
from podmirror_agent.connections import Connections
from podmirror_agent.fastpath import Run, walk
from podmirror_agent.fragments import Fragments
from podmirror_agent.governor import ALL_KEPT
from podmirror_agent.packet import CapturedPacket
from podmirror_agent.segment import Fragment, Segment, Undecoded, decode
from podmirror_agent.session import Session
from podmirror_wire.errors import ProtocolError, UnexpectedFrame
from podmirror_wire.frames import (
    AnyFrame,
    Closed,
    Credit,
    Dismiss,
    Ledger,
    Opened,
    Options,
    Subscribe,
    Subscribed,
    Unsubscribe,
)
from podmirror_wire.values import CloseReason, Direction

MAX_WINDOW = 64 << 20


class Interest(NamedTuple):
    """What the kernel filter must let through."""

    ports: frozenset[int] = frozenset()
    """That some session subscribed."""
    responder_bytes: bool = False
    """Whether the packets from those ports are wanted whole."""
    kept: int = ALL_KEPT
    """Classes of connections (`filters.connection_class`) that are not shed."""


class _Followed:
    """A connection that is open."""

    def __init__(self, opened: Opened, audience: list[Session]) -> None:
        self.opened = opened
        self.audience = audience


class Mirror:
    """Gives packets to `Connections`, and its events to the sessions."""

    def __init__(self, budget: Budget) -> None:
        self.interest = Interest()
        """What the sessions want now."""
        self.budget = budget
        """Of all buffers."""
        self._connections = Connections(budget)
        self._connections.table.wants_responder_bytes = False
        self._fragments = Fragments(budget)
        self._sessions: list[Session] = []
        self._followed: dict[int, _Followed] = {}
        self._undecoded = dict.fromkeys(Undecoded, 0)
        self._packets: int = 0

    @property
    def packets(self) -> int:
        """Packets that passed the kernel filter."""
        return self._packets

    def add_session(self) -> Session:
        """Begin a session without subscriptions."""
        session = Session(self.budget)
        self._sessions.append(session)
        return session

    def leave(self, session: Session) -> None:
        """Follow nothing more for a session that is about to end."""
        session.subscriptions.clear()
        self._follow_interest()

    def remove_session(self, session: Session) -> None:
        """End a session; what it had not taken is dropped."""
        session.outbox.discard()
        self._sessions.remove(session)
        self._follow_interest()

    def receive_frame(self, session: Session, frame: AnyFrame, pod_time: int) -> None:
        """Take a frame of an authenticated layer.

        Afterwards `interest` says what the kernel filter must let through. It is for the caller to set that filter before the
        output of the session is written, so that `Subscribed` is true when the layer reads it.

        Raises:
            ProtocolError: A frame that no layer sends, or an option that this agent does not know.
        """
        if isinstance(frame, Credit):
            session.outbox.receive_credit(frame.connection, frame.bytes)
        elif isinstance(frame, Dismiss):
            session.outbox.dismiss(frame.connection)
            self._update_wanted(frame.connection)
        elif isinstance(frame, Options):
            self._receive_options(session, frame)
        elif isinstance(frame, Subscribe):
            session.subscriptions[frame.request] = frame.port
            self._follow_interest()
            session.outbox.send(Subscribed(frame.request, pod_time))
        elif isinstance(frame, Unsubscribe):
            session.unsubscribe(frame.request)
            self._follow_interest()
        else:
            raise UnexpectedFrame(f"{type(frame).__name__} from a layer")

    def receive_packets(self, packets: Iterable[CapturedPacket], now: float) -> None:
        """Take captured packets, the careful way; `now` is monotonic, in seconds."""
        for packet in packets:
            self._packets += 1
            for event in self._receive_packet(packet, now):
                self._pass_on(event)

    def receive_block(
        self,
        ring: mmap,
        view: memoryview,
        position: int,
        count: int,
        packet_at: Callable[[int], CapturedPacket | None],
        now: float,
    ) -> None:
        """Take a block of the capture's ring.

        Args:
            ring: The mapped ring.
            view: The same. Outboxes may refer to it afterwards, until `Outbox.keep` was called.
            position: Of the block's first packet, bytes into the ring.
            count: Packets in the block.
            packet_at: Gives the packet at a position; None for one of a kind that is not captured.
            now: Monotonic seconds.
        """

        def careful(at: int) -> list[ConnectionEvent]:
            packet = packet_at(at)
            return self._receive_packet(packet, now) if packet is not None else []

        self._packets += count
        for each in walk(ring, view, position, count, self._connections.table.flows, now, careful):
            if isinstance(each, Run):
                if each.stream.run is each:
                    each.stream.run = None
                self._pass_run(each)
            else:
                self._pass_on(each)

    def expire(self, now: float) -> None:
        """Close connections that have been silent for too long, and give up fragments that have waited for too long."""
        self._fragments.expire(now)
        for event in self._connections.expire(now):
            self._pass_on(event)

    def keep(self, classes: int) -> None:
        """Mirror only connections of so many of the 256 classes (`filters.connection_class`) and shed the others."""
        for event in self._connections.keep(classes):
            self._pass_on(event)
        self._follow_interest()

    def close_connections(self, reason: CloseReason) -> None:
        """Close every connection towards every layer, for an agent that is about to end."""
        for session in self._sessions:
            session.outbox.close_all(lambda _: True, reason)

    def ledger(self, session: Session, capture: dict[str, int]) -> Ledger:
        """Say what was seen and lost so far, with what the capture counted itself since the session began."""
        return Ledger(
            {
                **session.counts(),
                **capture,
                "packets": self._packets,
                "fragments": self._fragments.seen,
                "fragments_lost": self._fragments.lost,
                "malformed": self._undecoded[Undecoded.MALFORMED],
                "untracked": self._connections.table.untracked,
                "buffer_bytes": self.budget.held,
            }
        )

    def _receive_packet(self, packet: CapturedPacket, now: float) -> list[ConnectionEvent]:
        segment: Segment | Fragment | Undecoded | None = decode(
            packet.packet, packet.wire_length, packet.link
        )
        if isinstance(segment, Fragment):
            path = (packet.interface[0], packet.way)
            segment = self._fragments.receive_fragment(segment, path, now)
        if isinstance(segment, Undecoded):
            self._undecoded[segment] += 1
        if not isinstance(segment, Segment):
            return []
        return self._connections.receive_segment(segment, packet.way, packet.interface, packet.pod_time, now)

    def _follow_interest(self) -> None:
        """Bring what is followed, and for whom, in line with what the sessions want."""
        ports = frozenset[int]().union(*(session.ports for session in self._sessions))
        responder_bytes = any(session.wants_responder_bytes for session in self._sessions if session.ports)
        self.interest = Interest(ports, responder_bytes, self._connections.kept)
        self._connections.subscribe(ports)
        self._connections.table.wants_responder_bytes = responder_bytes
        self._followed = {
            number: each for number, each in self._followed.items() if each.opened.responder.port in ports
        }
        for session in self._sessions:
            session.known = {number: of for number, of in session.known.items() if number in self._followed}
        for number, followed in self._followed.items():
            followed.audience = self._audience(number, followed.opened.responder.port)
            self._update_wanted(number)

    def _audience(self, number: int, port: int) -> list[Session]:
        return [
            session
            for session in self._sessions
            if port in session.ports and session.known.get(number, 0) is not None
        ]

    def _update_wanted(self, number: int) -> None:
        followed = self._followed.get(number)
        if followed is None:
            return
        listeners = [each for each in followed.audience if each.listens(number)]
        self._connections.want(number, Direction.TO_RESPONDER, wanted=bool(listeners))
        answers = any(each.wants_responder_bytes for each in listeners)
        self._connections.want(number, Direction.TO_INITIATOR, wanted=answers)

    def _receive_options(self, session: Session, options: Options) -> None:
        if session.subscriptions:
            raise UnexpectedFrame("options after a subscription")
        for name, value in options.settings.items():
            if name == "responder" and value in ("bytes", "lengths"):
                session.wants_responder_bytes = value == "bytes"
            elif name == "window" and re.fullmatch("[1-9][0-9]{0,7}", value) and int(value) <= MAX_WINDOW:
                session.outbox.window = int(value)
            else:
                raise ProtocolError(f"this agent has no option {name[:40]}={value[:40]}")

    def _pass_run(self, run: Run) -> None:
        number = run.stream.connection
        followed = self._followed.get(number)
        if followed is None:  # its subscription ended within the block
            return
        for session in followed.audience:
            if number not in session.known:
                session.announce(followed.opened, late=True)
            session.receive_run(run)

    def _pass_on(self, event: ConnectionEvent) -> None:
        if isinstance(event, Shed):
            for session in self._sessions:
                session.receive_shed(event)
            return
        if isinstance(event, Opened):
            port = event.responder.port
            self._followed[event.connection] = _Followed(event, self._audience(event.connection, port))
        followed = self._followed[event.connection]
        for session in followed.audience:
            if event.connection not in session.known and not isinstance(event, Closed):
                session.announce(followed.opened, late=not isinstance(event, Opened))
            session.receive_event(event)
        if isinstance(event, Closed):
            for session in self._sessions:
                session.known.pop(event.connection, None)
            del self._followed[event.connection]
