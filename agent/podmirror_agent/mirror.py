"""From packets to the frames of each session: the agent's core, with all of its rules and none of its I/O.

Several layers may be connected at a time, each with its own subscriptions. Packets are decoded and reassembled once; each
connection's events go to the sessions that subscribed its port. A session that subscribes while a connection is already being
followed learns of it as a late join at its next event: what it has missed before is unknown to it.
"""

import re
import secrets
from collections.abc import Iterable
from dataclasses import replace

from podmirror_agent.budget import Budget
from podmirror_agent.connection import ConnectionEvent
from podmirror_agent.connections import Connections
from podmirror_agent.outbox import Outbox
from podmirror_agent.packet import CapturedPacket
from podmirror_agent.segment import Undecoded, decode_ethernet
from podmirror_wire.errors import ProtocolError, UnexpectedFrame
from podmirror_wire.frames import (
    AnyFrame,
    Closed,
    Credit,
    Data,
    Gap,
    Ledger,
    Omitted,
    Opened,
    Options,
    Subscribe,
    Subscribed,
    Unsubscribe,
)
from podmirror_wire.values import CloseReason, Direction

DEFAULT_WINDOW = 256 * 1024
"""Initial credit of a connection in bytes, unless the options say otherwise: the tunnel's bandwidth-delay product at
50 MB/s and 5 ms."""

MAX_WINDOW = 64 << 20


class Session:
    """One layer's options, subscriptions and outgoing frames."""

    def __init__(self, budget: Budget) -> None:
        self.identifier = secrets.token_bytes(16)
        self.wants_responder_bytes = False
        self.subscriptions: dict[int, int] = {}
        """Port by request."""
        self.outbox = Outbox(budget, window=DEFAULT_WINDOW)
        self.counts = dict.fromkeys(
            ("connections", "late_joins", "bytes_seen", "gaps", "gap_bytes", "cut_connections", "cut_bytes"),
            0,
        )
        self.known: dict[int, int | None] = {}
        """Request, and so subscription, by open connection; None once it was closed here before it ended in the pod."""

    @property
    def ports(self) -> frozenset[int]:
        """The subscribed ports."""
        return frozenset(self.subscriptions.values())


class Mirror:
    """Gives packets to `Connections`, and its events to the sessions."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._connections = Connections(budget)
        self._sessions: list[Session] = []
        self._opened: dict[int, Opened] = {}
        self._undecoded = dict.fromkeys(Undecoded, 0)
        self._packets = 0

    @property
    def ports(self) -> frozenset[int]:
        """All ports that some session subscribed: what the kernel filter must let through."""
        return frozenset().union(*(session.ports for session in self._sessions))

    def add_session(self) -> Session:
        """Begin a session without subscriptions."""
        session = Session(self._budget)
        self._sessions.append(session)
        return session

    def remove_session(self, session: Session) -> None:
        """End a session; what it had not taken is dropped."""
        session.outbox.discard()
        self._sessions.remove(session)
        self._follow_subscribed_ports()

    def receive_frame(self, session: Session, frame: AnyFrame, pod_time: int) -> None:
        """Take a frame of an authenticated layer.

        Afterwards `ports` says what the kernel filter must let through. It is for the caller to set that filter before the
        output of the session is written, so that `Subscribed` is true when the layer reads it.

        Raises:
            ProtocolError: A frame that no layer sends, or an option that this agent does not know.
        """
        match frame:
            case Credit():
                session.outbox.receive_credit(frame.connection, frame.bytes)
            case Options():
                self._receive_options(session, frame)
            case Subscribe():
                session.subscriptions[frame.request] = frame.port
                self._follow_subscribed_ports()
                session.outbox.send(Subscribed(frame.request, pod_time))
            case Unsubscribe():
                self._unsubscribe(session, frame.request)
            case _:
                raise UnexpectedFrame(f"{type(frame).__name__} from a layer")

    def receive_packets(self, packets: Iterable[CapturedPacket], now: float) -> None:
        """Take captured packets; `now` is monotonic, in seconds."""
        for packet in packets:
            self._packets += 1
            segment = decode_ethernet(packet.packet, packet.wire_length)
            if isinstance(segment, Undecoded):
                self._undecoded[segment] += 1
                continue
            self._pass_on(
                self._connections.receive_segment(segment, packet.way, packet.interface, packet.pod_time, now)
            )

    def expire(self, now: float) -> None:
        """Close connections that have been silent for too long."""
        self._pass_on(self._connections.expire(now))

    def close_connections(self, reason: CloseReason) -> None:
        """Close every connection towards every layer, for an agent that is about to end."""
        for session in self._sessions:
            session.outbox.close_all(lambda _: True, reason)

    def ledger(self, session: Session, drops: int) -> Ledger:
        """Say what was seen and lost so far; `drops` are the kernel's since the session began."""
        return Ledger(
            {
                **session.counts,
                "cut_connections": session.outbox.cut_connections,
                "cut_bytes": session.outbox.cut_bytes,
                "waiting_bytes": session.outbox.waiting_bytes,
                "kernel_drops": drops,
                "packets": self._packets,
                "fragments": self._undecoded[Undecoded.FRAGMENT],
                "malformed": self._undecoded[Undecoded.MALFORMED],
                "untracked": self._connections.untracked,
            }
        )

    def _follow_subscribed_ports(self) -> None:
        ports = self.ports
        self._connections.subscribe(ports)
        self._opened = {number: each for number, each in self._opened.items() if each.responder.port in ports}
        for session in self._sessions:
            session.known = {number: of for number, of in session.known.items() if number in self._opened}

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

    def _unsubscribe(self, session: Session, request: int) -> None:
        if session.subscriptions.pop(request, None) is None:
            return
        session.outbox.close_all(
            lambda number: session.known.get(number) == request, CloseReason.UNSUBSCRIBED
        )
        session.known = {number: None if of == request else of for number, of in session.known.items()}
        self._follow_subscribed_ports()

    def _pass_on(self, events: list[ConnectionEvent]) -> None:
        for event in events:
            if isinstance(event, Opened):
                self._opened[event.connection] = event
            opened = self._opened[event.connection]
            for session in self._sessions:
                request = _subscription(session, opened.responder.port)
                if request is not None:
                    self._pass_to(session, request, event, opened)
            if isinstance(event, Closed):
                del self._opened[event.connection]

    def _pass_to(self, session: Session, request: int, event: ConnectionEvent, opened: Opened) -> None:
        counts = session.counts
        if event.connection not in session.known:
            if isinstance(event, Closed):
                return
            session.known[event.connection] = request
            late = opened.late or not isinstance(event, Opened)
            counts["connections"] += 1
            counts["late_joins"] += late
            session.outbox.send_for(replace(opened, late=late))
        elif session.known[event.connection] is None:
            if isinstance(event, Closed):
                del session.known[event.connection]
            return
        match event:
            case Data() if event.direction is Direction.TO_INITIATOR and not session.wants_responder_bytes:
                session.outbox.send_for(
                    Omitted(event.connection, event.direction, event.offset, len(event.payload))
                )
            case Data():
                counts["bytes_seen"] += len(event.payload)
                session.outbox.send_for(event)
            case Gap():
                if event.direction is Direction.TO_RESPONDER or session.wants_responder_bytes:
                    counts["gaps"] += 1
                    counts["gap_bytes"] += event.length
                session.outbox.send_for(event)
            case Closed():
                session.known.pop(event.connection, None)
                session.outbox.send_for(event)
            case Opened():
                pass
            case _:
                session.outbox.send_for(event)


def _subscription(session: Session, port: int) -> int | None:
    return next(
        (request for request, subscribed in session.subscriptions.items() if subscribed == port), None
    )
