"""From segments to connections: who is talking, since when, and how it ends.

Theory of operation. A subscription names a port of the pod, and a segment belongs to it when the *responder* of its
connection has that port; `roles` tells which end that is. A bridge or a VLAN shows the same packet on several interfaces; each
direction of a connection is followed on the first that it was seen on, until another shows what that has not.

A connection is opened for the layer when the app can have accepted it: when the initiator has acknowledged the SYN-ACK, not
before, so that refused connections and port scans open nothing (unless every connection is wanted). One whose SYN was never
seen is a late join; it begins with the first payload of the initiator. A connection that ended stays for a while as a
tombstone, or a retransmission of its last segments would look like a late join.

A reset counts when its sequence number is the next in order. One further ahead in the window is answered by the receiver's
kernel with an ACK, and obeyed when it comes again with the right number (RFC 5961, 3.2); but it was the right number if only
the capture missed bytes. So it counts when nothing more is heard for a while, and what the receiver must have had before it
is named. The same silence ends a connection of which a FIN may have been missed.

A shed connection is not mirrored, and most of its packets do not pass the kernel filter. How many bytes it carried is told at
its end, from the sequence numbers of its SYN and its FIN or RST.
"""

from podmirror_agent.budget import Budget
from podmirror_agent.connection import Connection, ConnectionEvent, Shed, State
from podmirror_agent.filters import connection_class
from podmirror_agent.governor import ALL_KEPT
from podmirror_agent.packet import Way
from podmirror_agent.roles import direction_of
from podmirror_agent.segment import ACK, FIN, PSH, RST, SYN, Segment
from podmirror_agent.stream import MAX_WINDOW, UNKNOWN, distance
from podmirror_agent.table import MAX_CONNECTIONS, ConnectionTable
from podmirror_wire.frames import Closed
from podmirror_wire.values import EVERY_PORT, CloseReason, Direction

IDLE_SECONDS = 7_800.0
"""A connection without a packet for so long is closed: Linux's keep-alive time of two hours (tcp_keepalive_time) and its
nine probes of 75 seconds would have shown a sign of life by then."""

HANDSHAKE_SECONDS = 130.0
"""An unanswered SYN is forgotten: Linux gives up after 127 s (tcp_syn_retries = 6)."""

TOMBSTONE_SECONDS = 10.0
"""An ended connection is remembered: long enough for retransmissions of the last segments. TIME-WAIT's sixty seconds would
keep 60,000 of them at 1,000 connections a second."""

SILENCE_SECONDS = 1.0
"""After a reset that may have been ignored, or a FIN that may have been missed: Linux answers the first at once, and would
retransmit what was lost after a fifth of a second (TCP_RTO_MIN) or a round trip."""

EXPIRY_INTERVAL_SECONDS = 5.0
TO_RESPONDER, TO_INITIATOR = Direction.TO_RESPONDER, Direction.TO_INITIATOR

_RESET_BY = (CloseReason.RESET_BY_INITIATOR, CloseReason.RESET_BY_RESPONDER)
"""By the direction of the reset."""


class Connections:
    """Follows the connections of the subscribed ports."""

    def __init__(
        self, budget: Budget, *, max_connections: int = MAX_CONNECTIONS, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        self.ports: frozenset[int] = frozenset()
        self._every = False
        """Whether all connections are followed, those that are refused included."""
        self.table = ConnectionTable(budget, max_connections)
        self._budget = budget
        self._idle_seconds = idle_seconds
        self._silent_until: dict[int, float] = {}
        """When a connection that may be over is taken to be."""
        self.kept: int = ALL_KEPT
        """Classes of connections that are mirrored; the others are shed."""
        self._next_expiry: float = 0.0

    def subscribe(self, ports: frozenset[int]) -> None:
        """Follow exactly these ports, or with `EVERY_PORT` all; connections of others are forgotten without an event."""
        self.ports = ports
        self._every = EVERY_PORT in ports
        for connection in self.table.all():
            if not self._every and connection.responder[1] not in ports:
                self._forget(connection)

    def want(self, number: int, direction: Direction, *, wanted: bool) -> None:
        """Say whether anybody wants the bytes of a connection's direction from now on."""
        connection = self.table.get(number)
        if connection is not None:
            connection.streams[direction].wanted = wanted

    def receive_segment(
        self, segment: Segment, way: Way, interface: tuple[int, str], pod_time: int, now: float
    ) -> list[ConnectionEvent]:
        """Take a segment that passed an interface (index and name) at a time of the pod's clock in nanoseconds.

        `now` is monotonic, in seconds.
        """
        direction = direction_of(segment, way, self.ports, self.table)
        if direction is None:
            return []
        connection = self.table.find(segment)
        events: list[ConnectionEvent] = []
        if segment.flags & SYN and not segment.flags & RST:
            connection = self._receive_syn(
                segment, direction, connection, interface[1], pod_time, now, events
            )
        elif connection is None:
            connection = self._join_late(segment, direction, interface[1], pod_time, now, events)
        if connection is None or connection.state is State.CLOSED:
            return events
        if connection.passes_elsewhere(segment, direction, interface[0], way):
            return events
        for either in connection.streams:
            either.run = None  # what comes next in order comes behind these events
        connection.streams[direction].last_seen = now
        if connection.state is State.SHED:
            self._receive_shed(segment, direction, connection, now, events)
        elif connection.state is not State.FOREIGN:
            self._receive(segment, direction, connection, now, events)
        return events

    def expire(self, now: float) -> list[ConnectionEvent]:
        """Close what has been silent for too long, and forget tombstones."""
        events: list[ConnectionEvent] = []
        self.table.forget_buried(now)
        for number in [number for number, due in self._silent_until.items() if due <= now]:
            del self._silent_until[number]
            connection = self.table.get(number)
            if connection is not None:
                self._end_in_silence(connection, now, events)
        if now < self._next_expiry:
            return events
        for connection in self.table.all():
            silent = now - connection.last_seen
            if connection.state is State.OPEN:
                if silent >= self._idle_seconds:
                    self._close(connection, CloseReason.IDLE, now, events)
            elif connection.state is State.HANDSHAKE:
                if silent >= HANDSHAKE_SECONDS:
                    self._give_up_handshake(connection, None, now, events)
            elif connection.state is not State.CLOSED and silent >= self._idle_seconds:
                self._forget(connection)
        self._next_expiry = now + EXPIRY_INTERVAL_SECONDS
        return events

    def keep(self, classes: int) -> list[ConnectionEvent]:
        """Mirror only connections of so many of the 256 classes: others are shed, to their end."""
        self.kept = classes
        events: list[ConnectionEvent] = []
        for connection in self.table.all():
            if connection.state is State.OPEN and connection_class(connection.initiator[1]) >= classes:
                events.append(Closed(connection.number, CloseReason.SHED, 0))
                self._shed(connection, events)
        return events

    def __len__(self) -> int:
        return len(self.table)

    def _receive(
        self,
        segment: Segment,
        direction: Direction,
        connection: Connection,
        now: float,
        events: list[ConnectionEvent],
    ) -> None:
        if segment.flags & RST:
            self._receive_reset(segment, direction, connection, now, events)
            return
        if not segment.flags & (ACK | SYN):
            return  # no receiver takes it (RFC 9293, 3.10.7.4, fifth)
        connection.reset = None
        if connection.state is State.HANDSHAKE and not self._completes_handshake(
            segment, direction, connection, events
        ):
            return
        events += connection.receive_bytes(segment, direction)
        if connection.streams[0].ended and connection.streams[1].ended:
            self._close(connection, CloseReason.FINISHED, now, events)
            return
        if connection.may_be_over:
            self._silent_until[connection.number] = now + SILENCE_SECONDS
        connection.update_readiness()

    def _receive_syn(
        self,
        segment: Segment,
        direction: Direction,
        connection: Connection | None,
        interface: str,
        pod_time: int,
        now: float,
        events: list[ConnectionEvent],
    ) -> Connection | None:
        if segment.flags & ACK:
            if direction is TO_RESPONDER:
                return connection  # simultaneous open: the initiator's SYN comes again with an ACK
            if connection is not None and connection.acknowledges_syn(segment.acknowledgment):
                return connection
            before = (segment.acknowledgment - 1) & 0xFFFFFFFF
            initial = before if connection is None else connection.answered_rival(before)
            # The responder accepts another SYN than the one we know of, so a new connection uses this port pair.
            if connection is not None and connection.state is State.OPEN:
                self._close(connection, CloseReason.REPLACED, now, events)
            return self._begin(segment, direction, interface, pod_time, now, initial)
        if direction is TO_INITIATOR:
            # The pod calls out from a subscribed port; the answers look like the beginning of a late join.
            if connection is None:
                call = self._begin(segment, direction, interface, pod_time, now, UNKNOWN)
                if call is not None:
                    call.state = State.FOREIGN
            return None
        if connection is not None and connection.state is State.OPEN:
            connection.rival = segment.sequence
            return None  # whether the responder takes it for a new connection, its SYN-ACK will tell
        if (
            connection is not None
            and connection.state in (State.HANDSHAKE, State.SHED)
            and connection.initial_sequence == segment.sequence
        ):
            return connection
        return self._begin(segment, direction, interface, pod_time, now, segment.sequence)

    def _join_late(
        self,
        segment: Segment,
        direction: Direction,
        interface: str,
        pod_time: int,
        now: float,
        events: list[ConnectionEvent],
    ) -> Connection | None:
        if segment.flags & (RST | ACK) != ACK:
            return None
        if not self._every and (direction is TO_INITIATOR or not segment.length):
            return None
        if segment.length == 1 and not segment.flags & PSH:
            return None  # a keep-alive probe, whose byte is garbage or old (RFC 9293, 3.8.4)
        connection = self._begin(segment, direction, interface, pod_time, now, UNKNOWN)
        if connection is not None:
            connection.late = True
            if (
                segment.length or segment.flags & FIN
            ):  # else it may be a keep-alive probe, with a number before the next
                connection.streams[direction].begin(segment.sequence)
            self._open(connection, events)
        return connection

    def _completes_handshake(
        self, segment: Segment, direction: Direction, connection: Connection, events: list[ConnectionEvent]
    ) -> bool:
        """Whether the connection is open after this segment, so that its bytes count."""
        stream = connection.streams[TO_RESPONDER]
        if direction is TO_INITIATOR:
            if segment.flags & SYN:
                connection.receive_answer(segment, self._budget)
                if connection_class(connection.initiator[1]) >= self.kept:
                    self._shed(connection, events)
                    return False
            # The app got the SYN's data, and can answer before the handshake ends. Else it acknowledges bytes, or speaks,
            # only when the handshake is over, so that the initiator's part in its end was missed.
            ahead = distance(segment.acknowledgment, stream.next)
            taken = not ahead if connection.early else 0 < ahead < MAX_WINDOW and connection.was_answered
            speaks = not segment.flags & SYN and bool(segment.length or segment.flags & FIN)
            if taken or speaks:
                self._open(connection, events)
            return taken or speaks
        if segment.flags & SYN:
            if segment.length:
                connection.hold_early(segment, self._budget)
            return False
        if not connection.accepts_answer(segment):
            return False
        self._open(connection, events)
        return True

    def _open(self, connection: Connection, events: list[ConnectionEvent]) -> None:
        connection.state = State.OPEN
        self.table.settle(connection)
        events.append(connection.opened())
        events += connection.early
        connection.drop_early(self._budget)

    def _receive_reset(
        self,
        segment: Segment,
        direction: Direction,
        connection: Connection,
        now: float,
        events: list[ConnectionEvent],
    ) -> None:
        if connection.state is State.HANDSHAKE:
            if connection.ends_handshake(segment, direction):
                self._give_up_handshake(connection, direction, now, events)
            return
        stream = connection.streams[direction]
        ahead = distance(segment.sequence, stream.next) if stream.next != UNKNOWN else 0
        if not 0 <= ahead < MAX_WINDOW:
            return
        if segment.flags & ACK:
            acknowledged = connection.streams[1 - direction].receive_acknowledgment(segment.acknowledgment)
            events += connection.events(direction.reverse, acknowledged)
        connection.reset = (direction, segment.sequence)
        if ahead == 0 or (ahead == 1 and stream.fin_missed):
            self._end_in_silence(connection, now, events)
        else:
            self._silent_until[connection.number] = now + SILENCE_SECONDS
            connection.update_readiness()  # whatever comes next shows that the reset was ignored

    def _give_up_handshake(
        self, connection: Connection, reset: Direction | None, now: float, events: list[ConnectionEvent]
    ) -> None:
        """A connection was refused, or not answered: tell of it only where all are wanted, for the app never saw it."""
        if not self._every:
            self._forget(connection)
            return
        self._open(connection, events)
        self._close(connection, CloseReason.IDLE if reset is None else _RESET_BY[reset], now, events)

    def finish(self, now: float) -> list[ConnectionEvent]:
        """Close every connection, because the capture has ended."""
        events: list[ConnectionEvent] = []
        for connection in self.table.all():
            if connection.state is State.HANDSHAKE and self._every:
                self._open(connection, events)
            if connection.state is State.OPEN:
                self._end_in_silence(connection, now, events)
            if connection.state is State.OPEN:
                self._close(connection, CloseReason.CAPTURE_ENDED, now, events)
            self._forget(connection)  # the file may be read again
        return events

    def _end_in_silence(self, connection: Connection, now: float, events: list[ConnectionEvent]) -> None:
        """Close a connection whose reset was obeyed, or whose FIN was missed, unless it has gone on since."""
        if connection.state is not State.OPEN:
            return
        if connection.reset is not None:
            direction, sequence = connection.reset
            stream = connection.streams[direction]
            events += connection.events(direction.reverse, stream.reverse.receive_reset_of_reverse())
            events += connection.events(direction, stream.receive_reset(sequence))
            self._close(connection, _RESET_BY[direction], now, events)
        elif connection.may_be_over:
            self._close(connection, CloseReason.END_MISSED, now, events)

    def _shed(self, connection: Connection, events: list[ConnectionEvent]) -> None:
        self._discard(connection)
        connection.state = State.SHED
        self.table.settle(connection)
        events.append(Shed(connection.responder[1], 1, 0))

    def _receive_shed(
        self,
        segment: Segment,
        direction: Direction,
        connection: Connection,
        now: float,
        events: list[ConnectionEvent],
    ) -> None:
        if not segment.flags & (FIN | RST) or connection.streams[direction].ended:
            return
        events += connection.end_shed(segment, direction)
        if segment.flags & RST or (connection.streams[0].ended and connection.streams[1].ended):
            self._bury(connection, now)

    def _close(
        self, connection: Connection, reason: CloseReason, now: float, events: list[ConnectionEvent]
    ) -> None:
        events.append(Closed(connection.number, reason, 0))
        self._discard(connection)
        self._bury(connection, now)

    def _bury(self, connection: Connection, now: float) -> None:
        connection.state = State.CLOSED
        self.table.bury(connection, now + TOMBSTONE_SECONDS)

    def _begin(
        self,
        segment: Segment,
        direction: Direction,
        interface: str,
        pod_time: int,
        now: float,
        initial_sequence: int,
    ) -> Connection | None:
        known = self.table.find(segment)
        if known is not None:
            self._forget(known)
        connection = self.table.begin(segment, direction, interface, pod_time, now)
        if connection is not None and initial_sequence != UNKNOWN:
            connection.initial_sequence = initial_sequence
            connection.streams[TO_RESPONDER].begin((initial_sequence + 1) & 0xFFFFFFFF)
        return connection

    def _discard(self, connection: Connection) -> None:
        connection.drop_early(self._budget)
        for stream in connection.streams:
            stream.discard()
        self._silent_until.pop(connection.number, None)

    def _forget(self, connection: Connection) -> None:
        self._discard(connection)
        self.table.remove(connection)
