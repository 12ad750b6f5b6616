"""From packets to the frames of each session: the agent's core, with all of its rules and none of its I/O.

Several layers may be connected at a time, each with its own subscriptions. Packets are decoded and reassembled once; each
connection's events go to the sessions that subscribed its port, its audience. A session that subscribes while a connection is
already being followed learns of it as a late join at its next event: what it has missed before is unknown to it.
"""

from collections.abc import Callable, Iterable
from mmap import mmap
from typing import NamedTuple

from podmirror_agent.budget import Budget
from podmirror_agent.connection import ConnectionEvent, Moment, Shed
from podmirror_agent.connections import Connections
from podmirror_agent.fastpath import Block, Happened, Run, walk
from podmirror_agent.fragments import Fragments
from podmirror_agent.governor import ALL_KEPT
from podmirror_agent.packet import CapturedPacket
from podmirror_agent.packetfeed import NOWHERE, PacketMode, Place
from podmirror_agent.segment import SYN, Fragment, Segment, Undecoded, decode
from podmirror_agent.session import Session
from podmirror_agent.stream import UNKNOWN, distance
from podmirror_wire.errors import ProtocolError, UnexpectedFrame
from podmirror_wire.frames import (
    AnyFrame,
    Closed,
    Credit,
    Dismiss,
    Ledger,
    Opened,
    Options,
    Refused,
    Subscribe,
    Subscribed,
    Unsubscribe,
)
from podmirror_wire.values import EVERY_PORT, CloseReason, Direction

_FOREIGN_TYPES = (1, 2, 3)
"""Of sll_pkttype, packet(7): broadcast, multicast and to another host; no connection of the pod's."""


class Interest(NamedTuple):
    """What the kernel filter must let through."""

    ports: frozenset[int] = frozenset()
    """That some session subscribed."""
    responder_bytes: bool = False
    """Whether the packets from those ports are wanted whole."""
    kept: int = ALL_KEPT
    """Classes of connections (`filters.connection_class`) that are not shed."""
    packets: bool = False
    """Whether packets themselves are wanted, and not only what they say."""
    everything: bool = False
    """Whether they are wanted whatever their port and their protocol."""
    others: bool = False
    """Whether packets that are not TCP are wanted, too."""
    expression: str = ""
    """What every packet must match besides, as a tcpdump expression; empty for anything."""


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
        self._feeds: list[Session] = []
        """Sessions that are given packets."""
        self._pod_time: int = 0
        """Of what is told now, nanoseconds since 1970."""

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
        session.discard()
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
            refusal = self._refusal(session)
            if refusal:
                session.outbox.send(Refused(frame.request, refusal))
                return
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
            self._pod_time = packet.pod_time
            self._take_packet(packet, now)

    def receive_blocks(
        self,
        ring: mmap,
        view: memoryview,
        blocks: list[Block],
        packet_at: Callable[[int], CapturedPacket | None],
        now: float,
    ) -> None:
        """Take blocks of the capture's ring, one behind the other.

        Args:
            ring: The mapped ring.
            view: The same. Outboxes may refer to it afterwards, until `Outbox.keep` was called.
            blocks: Where they are.
            packet_at: Gives the packet at a position; None for one of a kind that is not captured.
            now: Monotonic seconds.
        """

        def careful(at: int) -> list[ConnectionEvent]:
            packet = packet_at(at)
            if packet is None:
                return []
            events = self._receive_packet(packet, now)
            return [Moment(packet.pod_time), *events] if events else []

        def recording(at: int) -> list[ConnectionEvent]:
            packet = packet_at(at)
            if packet is not None:
                self._pod_time = packet.pod_time
                self._take_packet(packet, now)
            return []

        self._packets += sum(count for _, count in blocks)
        # Where packets go to sessions as they are, none goes the short way.
        flows = {} if self.interest.packets else self._connections.table.flows
        take = recording if self.interest.packets else careful
        happened: Happened = []
        for block in blocks:
            walk(ring, view, block, flows, now, take, happened)
        for each in happened:
            if isinstance(each, Run):
                if each.stream.run is each:
                    each.stream.run = None
                self._pod_time = each.pod_time
                self._pass_run(each)
            elif isinstance(each, Moment):
                self._pod_time = each.pod_time
            else:
                self._pass_on(each)

    def expire(self, now: float) -> None:
        """Close connections that have been silent for too long, and give up fragments that have waited for too long."""
        self._fragments.expire(now)
        for event in self._connections.expire(now):
            self._pass_on(event)

    def finish(self, now: float) -> None:
        """The capture has ended: close every connection of it."""
        for event in self._connections.finish(now):
            self._pass_on(event)

    @property
    def backlog_bytes(self) -> int:
        """What waits for layers, in bytes: payload, and what each frame costs besides."""
        return sum(session.outbox.backlog_bytes for session in self._sessions)

    def keep(self, classes: int) -> None:
        """Mirror only connections of so many of the 256 classes (`filters.connection_class`) and shed the others."""
        for event in self._connections.keep(classes):
            self._pass_on(event)
        self._follow_interest()

    def close_connections(self, reason: CloseReason) -> None:
        """Close every connection towards every layer, for an agent that is about to end."""
        for session in self._sessions:
            session.settle(self._pod_time)
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

    def _take_packet(self, packet: CapturedPacket, now: float) -> None:
        """Take a packet for the connections, and then for the sessions that want the packet itself."""
        decoded = decode(packet.packet, packet.wire_length, packet.link)
        before = self._place(decoded) if self.interest.packets else None
        knew = [each for each in self._feeds if before is not None and each.knows(before.connection)]
        for event in self._receive_decoded(packet, decoded, now):
            self._pass_on(event)
        after = self._place(decoded) if self.interest.packets else None
        for session in self._feeds:
            if session.wants_packet(decoded):
                place = before if session in knew else after
                known = place is not None and (place is before or session.knows(place.connection))
                session.packets.receive_packet(packet, place if place is not None and known else NOWHERE)

    def _receive_packet(self, packet: CapturedPacket, now: float) -> list[ConnectionEvent]:
        decoded = decode(packet.packet, packet.wire_length, packet.link)
        if decoded is Undecoded.NOT_TCP:
            for session in self._feeds:
                if session.wants_packet(decoded):
                    session.packets.receive_packet(packet)
        return self._receive_decoded(packet, decoded, now)

    def _receive_decoded(
        self, packet: CapturedPacket, decoded: Segment | Fragment | Undecoded, now: float
    ) -> list[ConnectionEvent]:
        segment: Segment | Fragment | Undecoded | None = decoded
        if isinstance(segment, Fragment):
            path = (packet.interface[0], packet.way)
            segment = self._fragments.receive_fragment(segment, path, now)
        if isinstance(segment, Undecoded):
            self._undecoded[segment] += 1
        if not isinstance(segment, Segment) or packet.packet_type in _FOREIGN_TYPES:
            return []
        return self._connections.receive_segment(segment, packet.way, packet.interface, packet.pod_time, now)

    def _place(self, decoded: Segment | Fragment | Undecoded) -> Place | None:
        """Find the place of a segment's payload in its connection."""
        stream = self._connections.table.stream(decoded) if isinstance(decoded, Segment) else None
        if stream is None or stream.next == UNKNOWN or not isinstance(decoded, Segment):
            return None
        sequence = decoded.sequence + 1 if decoded.flags & SYN else decoded.sequence
        ahead = distance(sequence & 0xFFFFFFFF, stream.next)
        offset = stream.offset + ahead + (1 if stream.ended else 0)  # a FIN takes a number, and no byte
        if offset < 0:
            return None
        return Place(stream.connection, stream.direction, offset, decoded.length)

    def _refusal(self, session: Session) -> str:
        """Say why a session cannot have a subscription; nothing if it can."""
        mine = session.packets.expression
        for other in self._sessions:
            if other is not session and other.subscriptions and other.packets.expression != mine:
                theirs = other.packets.expression
                return (
                    f"another session of this agent has {_named(theirs)}, this one has {_named(mine)}, and sessions of one "
                    "agent share the kernel's filter; give this one an agent of its own with --agent-name"
                )
        return session.refusal

    def _follow_interest(self) -> None:
        """Bring what is followed, and for whom, in line with what the sessions want."""
        ports = frozenset[int]().union(*(session.ports for session in self._sessions))
        responder_bytes = any(
            session.needs(Direction.TO_INITIATOR) for session in self._sessions if session.ports
        )
        self._feeds = [
            each for each in self._sessions if each.subscriptions and each.packets.mode is not None
        ]
        self.interest = Interest(
            ports,
            responder_bytes or any(each.packets.mode is PacketMode.WHOLE for each in self._feeds),
            self._connections.kept,
            any(each.packets.wants_tcp for each in self._feeds),
            any(each.packets.wants_tcp and each.wants_every_packet for each in self._feeds),
            any(each.wants_packet(Undecoded.NOT_TCP) for each in self._feeds),
            next((each.packets.expression for each in self._sessions if each.subscriptions), ""),
        )
        self._connections.subscribe(ports)
        self._connections.table.wants_responder_bytes = responder_bytes
        self._followed = {
            number: each
            for number, each in self._followed.items()
            if EVERY_PORT in ports or each.opened.responder.port in ports
        }
        for session in self._sessions:
            session.known = {number: of for number, of in session.known.items() if number in self._followed}
        for number, followed in self._followed.items():
            followed.audience = self._audience(followed.opened)
            self._update_wanted(number)

    def _audience(self, opened: Opened) -> list[Session]:
        return [
            session
            for session in self._sessions
            if session.request_for(opened.responder.port) is not None
            and session.known.get(opened.connection, 0) is not None
            and session.samples(opened)
        ]

    def _begin_to_follow(self, opened: Opened) -> None:
        self._followed[opened.connection] = _Followed(opened, self._audience(opened))
        for session in self._sessions:
            if session.request_for(opened.responder.port) is not None and not session.samples(opened):
                session.count_sampled_out()
        self._update_wanted(opened.connection)

    def _update_wanted(self, number: int) -> None:
        followed = self._followed.get(number)
        if followed is None:
            return
        listeners = [each for each in followed.audience if each.listens(number)]
        for direction in Direction:
            wanted = any(each.needs(direction) for each in listeners)
            self._connections.want(number, direction, wanted=wanted)

    def _receive_options(self, session: Session, options: Options) -> None:
        if session.subscriptions:
            raise UnexpectedFrame("options after a subscription")
        for name, value in options.settings.items():
            if not session.receive_option(name, value):
                # Without the value, which may hold a key.
                raise ProtocolError(
                    f"this agent has no option {name[:40]}, or not with the value that was asked for"
                )

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
        if isinstance(event, Moment):
            return
        if isinstance(event, Opened):
            self._begin_to_follow(event)
        followed = self._followed[event.connection]
        for session in followed.audience:
            if event.connection not in session.known and not isinstance(event, Closed):
                session.announce(followed.opened, late=not isinstance(event, Opened))
            session.receive_event(event, self._pod_time)
        if isinstance(event, Closed):
            for session in self._sessions:
                session.known.pop(event.connection, None)
            del self._followed[event.connection]


def _named(expression: str) -> str:
    return f"the filter '{expression}'" if expression else "no filter"
