"""From segments to connections: who is talking, since when, and how it ends.

Theory of operation. A subscription names a port of the pod. A segment belongs to it when the *responder* of its connection has
that port, and which end is the responder follows from the way the packet took, not from its addresses: a packet that came in
towards the port, or went out from it. The pod's own calls to the same port elsewhere take the opposite way and are not ours.
On loopback, and in a capture file, both ways look alike, and there the port alone decides, and the handshake where both
ports are subscribed. A bridge or a VLAN shows the same packet on several interfaces; each direction of a connection is
followed on the first that it was seen on.

A connection is opened for the layer when the app can have accepted it: when the initiator has acknowledged the SYN-ACK, not
before, so that refused connections and port scans open nothing. One whose SYN was never seen is a late join; it begins with
the first payload of the initiator. A connection that ended stays for a while as a tombstone, or a retransmission of its last
segments would look like a late join.

A reset counts when its sequence number is inside the window and not before what was read already (RFC 5961, 3.2, as the
receiver's kernel does); it discards what was parked, since the app never got that.
"""

from collections import deque

from podmirror_agent.budget import OVERHEAD_BYTES, Budget
from podmirror_agent.connection import Connection, ConnectionEvent, State
from podmirror_agent.packet import Way
from podmirror_agent.segment import ACK, FIN, RST, SYN, Segment
from podmirror_agent.stream import MAX_WINDOW, Stream, distance
from podmirror_wire.frames import Closed
from podmirror_wire.values import CloseReason, Direction

IDLE_SECONDS = 7_800.0
"""A connection without a packet for so long is closed: Linux's keep-alive time of two hours (tcp_keepalive_time) and its
nine probes of 75 seconds would have shown a sign of life by then."""

HANDSHAKE_SECONDS = 130.0
"""An unanswered SYN is forgotten: Linux gives up after 127 s (tcp_syn_retries = 6)."""

TOMBSTONE_SECONDS = 10.0
"""An ended connection is remembered: long enough for retransmissions of the last segments. TIME-WAIT's sixty seconds would
keep 60,000 of them at 1,000 connections a second."""

MAX_CONNECTIONS = 65_536
"""Tracked at once, tombstones included; about 1 KiB each."""

EXPIRY_INTERVAL_SECONDS = 5.0

TO_RESPONDER, TO_INITIATOR = Direction.TO_RESPONDER, Direction.TO_INITIATOR


_Key = tuple[bytes, int, bytes, int]


class Connections:
    """Follows the connections of the subscribed ports."""

    def __init__(
        self, budget: Budget, *, max_connections: int = MAX_CONNECTIONS, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        self.ports: frozenset[int] = frozenset()
        self.untracked = 0
        """Segments that could open no connection because the table was full."""
        self._budget = budget
        self._max_connections = max_connections
        self._idle_seconds = idle_seconds
        self._table: dict[_Key, Connection] = {}
        self._tombstones: deque[tuple[float, _Key, Connection]] = deque()
        self._last_number = 0
        self._next_expiry: float | None = None

    def subscribe(self, ports: frozenset[int]) -> None:
        """Follow exactly these ports; connections of other ports are forgotten without an event."""
        self.ports = ports
        for key, connection in list(self._table.items()):
            if connection.responder[1] not in ports:
                self._forget(key, connection)

    def receive_segment(
        self, segment: Segment, way: Way, interface: tuple[int, str], pod_time: int, now: float
    ) -> list[ConnectionEvent]:
        """Take a segment that passed an interface (index and name) at a time of the pod's clock in nanoseconds.

        `now` is monotonic, in seconds.
        """
        direction = self._direction(segment, way)
        if direction is None:
            return []
        key = _key(segment, direction)
        connection = self._table.get(key)
        events: list[ConnectionEvent] = []
        if segment.flags & SYN and not segment.flags & RST:
            connection = self._receive_syn(
                segment, direction, key, connection, interface[1], pod_time, now, events
            )
        elif connection is None:
            connection = self._join_late(segment, direction, key, interface[1], pod_time, now, events)
        if connection is None or connection.state is State.CLOSED:
            return events
        if connection.passes_elsewhere(direction, interface[1]):
            return events
        connection.last_seen = now
        if connection.state is State.FOREIGN:
            return events
        if segment.flags & RST:
            self._receive_reset(segment, direction, key, connection, now, events)
            return events
        if connection.state is State.HANDSHAKE and not self._completes_handshake(
            segment, direction, connection, events
        ):
            return events
        self._receive_bytes(segment, direction, connection, events)
        if connection.streams[0].ended and connection.streams[1].ended:
            self._close(key, connection, CloseReason.FINISHED, now, events)
        return events

    def expire(self, now: float) -> list[ConnectionEvent]:
        """Close what has been silent for too long, and forget tombstones."""
        events: list[ConnectionEvent] = []
        while self._tombstones and self._tombstones[0][0] <= now:
            _, key, connection = self._tombstones.popleft()
            if self._table.get(key) is connection:
                del self._table[key]
        if self._next_expiry is not None and now < self._next_expiry:
            return events
        for key, connection in list(self._table.items()):
            silent = now - connection.last_seen
            if (connection.state is State.HANDSHAKE and silent >= HANDSHAKE_SECONDS) or (
                connection.state is State.FOREIGN and silent >= self._idle_seconds
            ):
                self._forget(key, connection)
            elif connection.state is State.OPEN and silent >= self._idle_seconds:
                self._close(key, connection, CloseReason.IDLE, now, events)
        self._next_expiry = now + EXPIRY_INTERVAL_SECONDS if self._table else None
        return events

    def next_deadline(self) -> float | None:
        """When `expire` next has something to look at; None while no connection is known."""
        return self._next_expiry if self._table else None

    def __len__(self) -> int:
        return len(self._table)

    def _direction(self, segment: Segment, way: Way) -> Direction | None:
        to_port = segment.destination_port in self.ports
        from_port = segment.source_port in self.ports
        if way is Way.INCOMING:
            return TO_RESPONDER if to_port else None
        if way is Way.OUTGOING:
            return TO_INITIATOR if from_port else None
        if to_port and from_port:
            if segment.flags & SYN:
                return TO_INITIATOR if segment.flags & ACK else TO_RESPONDER
            return TO_INITIATOR if _key(segment, TO_INITIATOR) in self._table else TO_RESPONDER
        if to_port:
            return TO_RESPONDER
        return TO_INITIATOR if from_port else None

    def _receive_syn(
        self,
        segment: Segment,
        direction: Direction,
        key: _Key,
        connection: Connection | None,
        interface: str,
        pod_time: int,
        now: float,
        events: list[ConnectionEvent],
    ) -> Connection | None:
        if segment.flags & ACK:
            if direction is TO_RESPONDER:
                return connection  # simultaneous open: the initiator's SYN comes again with an ACK
            initial = (segment.acknowledgment - 1) & 0xFFFFFFFF
            if connection is not None and connection.acknowledges_syn(segment.acknowledgment):
                return connection
            # The responder accepts another SYN than the one we know of, so a new connection uses this port pair.
            if connection is not None and connection.state is State.OPEN:
                self._close(key, connection, CloseReason.REPLACED, now, events)
            return self._begin(key, interface, pod_time, now, initial)
        if direction is TO_INITIATOR:
            self._ignore_call(key, interface, pod_time, now)
            return None
        if connection is not None and connection.state is State.OPEN:
            return None  # whether the responder takes it for a new connection, its SYN-ACK will tell
        if (
            connection is not None
            and connection.state is State.HANDSHAKE
            and connection.initial_sequence == segment.sequence
        ):
            return connection
        return self._begin(key, interface, pod_time, now, segment.sequence)

    def _ignore_call(self, key: _Key, interface: str, pod_time: int, now: float) -> None:
        """The pod calls out from a subscribed port; the answers look like the beginning of a late join."""
        if key not in self._table:
            call = self._begin(key, interface, pod_time, now, None)
            if call is not None:
                call.state = State.FOREIGN

    def _begin(
        self, key: _Key, interface: str, pod_time: int, now: float, initial_sequence: int | None
    ) -> Connection | None:
        if key not in self._table and len(self._table) >= self._max_connections:
            self.untracked += 1
            return None
        if key in self._table:
            self._forget(key, self._table[key])
        self._last_number += 1
        connection = Connection(
            number=self._last_number,
            initiator=(key[0], key[1]),
            responder=(key[2], key[3]),
            interface=interface,
            streams=(Stream(self._budget), Stream(self._budget)),
            pod_time=pod_time,
            last_seen=now,
            initial_sequence=initial_sequence,
        )
        if initial_sequence is not None:
            connection.streams[TO_RESPONDER].begin((initial_sequence + 1) & 0xFFFFFFFF)
        self._table[key] = connection
        if self._next_expiry is None:
            self._next_expiry = now + EXPIRY_INTERVAL_SECONDS
        return connection

    def _join_late(
        self,
        segment: Segment,
        direction: Direction,
        key: _Key,
        interface: str,
        pod_time: int,
        now: float,
        events: list[ConnectionEvent],
    ) -> Connection | None:
        if segment.flags & RST or direction is TO_INITIATOR or not segment.length:
            return None
        connection = self._begin(key, interface, pod_time, now, None)
        if connection is not None:
            connection.late = True
            connection.streams[TO_RESPONDER].begin(segment.sequence)
            self._open(connection, events)
        return connection

    def _completes_handshake(
        self, segment: Segment, direction: Direction, connection: Connection, events: list[ConnectionEvent]
    ) -> bool:
        """Whether the connection is open after this segment, so that its bytes count."""
        initiator_next = connection.streams[TO_RESPONDER].next_sequence
        if direction is TO_INITIATOR:
            if segment.flags & SYN:
                connection.streams[TO_INITIATOR].begin((segment.sequence + 1) & 0xFFFFFFFF)
            # More than the SYN acknowledged: the app got the SYN's data, and can answer before the handshake ends.
            fast = (
                connection.early and initiator_next is not None and segment.acknowledgment == initiator_next
            )
            if fast:
                self._open(connection, events)
            return bool(fast)
        if segment.flags & SYN:
            if segment.length and not connection.early and self._budget.take(segment.length + OVERHEAD_BYTES):
                connection.early_charge = segment.length + OVERHEAD_BYTES
                stream = connection.streams[TO_RESPONDER]
                first = (segment.sequence + 1) & 0xFFFFFFFF
                connection.early += connection.events(
                    direction,
                    stream.receive_segment(first, segment.payload, segment.length),
                )
            return False
        if not segment.flags & ACK:
            return False
        self._open(connection, events)
        return True

    def _open(self, connection: Connection, events: list[ConnectionEvent]) -> None:
        connection.state = State.OPEN
        events.append(connection.opened())
        events += connection.early
        self._drop_early(connection)

    def _receive_bytes(
        self, segment: Segment, direction: Direction, connection: Connection, events: list[ConnectionEvent]
    ) -> None:
        if segment.flags & ACK:
            acknowledged = connection.streams[1 - direction].receive_acknowledgment(segment.acknowledgment)
            if acknowledged:
                events += connection.events(Direction(1 - direction), acknowledged)
        if segment.length or segment.flags & FIN:
            sequence = segment.sequence + 1 if segment.flags & SYN else segment.sequence
            read = connection.streams[direction].receive_segment(
                sequence & 0xFFFFFFFF, segment.payload, segment.length, fin=bool(segment.flags & FIN)
            )
            if read:
                events += connection.events(direction, read)

    def _receive_reset(
        self,
        segment: Segment,
        direction: Direction,
        key: _Key,
        connection: Connection,
        now: float,
        events: list[ConnectionEvent],
    ) -> None:
        if connection.state is State.HANDSHAKE:
            self._forget(key, connection)
            return
        expected = connection.streams[direction].next_sequence
        fin = 1 if connection.streams[direction].ended else 0
        if expected is not None and not 0 <= distance(segment.sequence, expected) < MAX_WINDOW + fin:
            return
        if segment.flags & ACK:
            acknowledged = connection.streams[1 - direction].receive_acknowledgment(segment.acknowledgment)
            events += connection.events(Direction(1 - direction), acknowledged)
        reason = (
            CloseReason.RESET_BY_INITIATOR if direction is TO_RESPONDER else CloseReason.RESET_BY_RESPONDER
        )
        self._close(key, connection, reason, now, events)

    def _close(
        self,
        key: _Key,
        connection: Connection,
        reason: CloseReason,
        now: float,
        events: list[ConnectionEvent],
    ) -> None:
        events.append(Closed(connection.number, reason, 0))
        connection.state = State.CLOSED
        for stream in connection.streams:
            stream.discard()
        self._tombstones.append((now + TOMBSTONE_SECONDS, key, connection))

    def _drop_early(self, connection: Connection) -> None:
        connection.early.clear()
        self._budget.give(connection.early_charge)
        connection.early_charge = 0

    def _forget(self, key: _Key, connection: Connection) -> None:
        self._drop_early(connection)
        for stream in connection.streams:
            stream.discard()
        del self._table[key]


def _key(segment: Segment, direction: Direction) -> _Key:
    if direction is TO_RESPONDER:
        return (segment.source, segment.source_port, segment.destination, segment.destination_port)
    return (segment.destination, segment.destination_port, segment.source, segment.source_port)
