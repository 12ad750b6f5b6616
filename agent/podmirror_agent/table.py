"""Where connections are found: by their flows, as packets name them, and by their numbers, as sessions do.

Theory of operation. What is known of a connection takes memory, too, and anybody can make some: a SYN is one packet, from
whatever address its sender likes. So each is taken from the agent's budget, of which the table has a share. When that is used
up, tombstones go first, the oldest before the others, and then connections that were not opened yet: of those the app's own
kernel keeps no more, and one that is opened all the same is begun again with the responder's SYN, or joined late. What is open
is never given up for something new, but for a connection whose bytes use up the budget because they are not taken.
"""

import struct
from collections import OrderedDict, deque

from podmirror_agent.budget import Budget
from podmirror_agent.connection import Connection
from podmirror_agent.segment import Segment
from podmirror_agent.stream import Stream
from podmirror_wire.values import Direction

MAX_CONNECTIONS = 65_536
"""Tracked at once, tombstones included."""

CONNECTION_BYTES = 3_072
"""What a connection takes: measured 2,600 to 3,000, with what the mirror, a session and its outbox know of it."""

TOMBSTONE_BYTES = 1_536
"""And one that has ended: what the table alone knows of it, measured 1,050 to 1,520."""

TABLE_SHARE = 2
"""The table takes at most this part (a half) of the budget, so that the other is for bytes."""

UNOPENED_SHARE, TOMBSTONE_SHARE = 4, 8
"""And connections that were not opened yet, and tombstones, at most these parts of the budget: with 64 MiB 5,461 of either."""

_PORTS = struct.Struct("!HH")


class ConnectionTable:
    """All connections that are known, those included that have ended a moment ago."""

    def __init__(self, budget: Budget, max_connections: int) -> None:
        self.flows: dict[bytes, Stream] = {}
        """By source address, destination address and both ports, as they stand in the packet."""
        self.wants_responder_bytes = True
        """Of connections that begin from now on."""
        self.untracked: int = 0
        """Segments that could begin no connection because the table was full."""
        self._budget = budget
        self._max_connections = max_connections
        self.held: int = 0
        """Taken from the budget."""
        self._by_number: dict[int, Connection] = {}
        self._unopened: OrderedDict[int, Connection] = OrderedDict()
        """Of those, the ones that somebody else's packets can have made. The oldest is first; a dict is slow to find it."""
        self._buried: deque[tuple[float, Connection]] = deque()
        self._last_number: int = 0

    def __len__(self) -> int:
        return len(self._by_number)

    def all(self) -> list[Connection]:
        """Give every connection."""
        return list(self._by_number.values())

    def get(self, number: int) -> Connection | None:
        """Give the connection of that number."""
        return self._by_number.get(number)

    def find(self, segment: Segment) -> Connection | None:
        """Give the connection that has a flow with the ends of this segment."""
        stream = self.flows.get(_key(segment))
        return None if stream is None else self._by_number[stream.connection]

    def stream(self, segment: Segment) -> Stream | None:
        """Give the stream that this segment is of."""
        return self.flows.get(_key(segment))

    def direction(self, segment: Segment) -> Direction | None:
        """Give the direction of that flow."""
        stream = self.stream(segment)
        return None if stream is None else stream.direction

    def begin(
        self, segment: Segment, direction: Direction, interface: str, pod_time: int, now: float
    ) -> Connection | None:
        """Add a connection with the ends of this segment; None, and counted, if there is no room."""
        if not self._make_room():
            self.untracked += 1
            return None
        self._last_number += 1
        number = self._last_number
        source = (segment.source, segment.source_port)
        destination = (segment.destination, segment.destination_port)
        same, reverse = _key(segment), _reverse_key(segment)
        towards = direction is Direction.TO_RESPONDER
        wanted = self.wants_responder_bytes
        connection = Connection(
            number,
            (same, reverse) if towards else (reverse, same),
            (source, destination) if towards else (destination, source),
            (
                Stream(self._budget, connection=number),
                Stream(self._budget, connection=number, direction=Direction.TO_INITIATOR, wanted=wanted),
            ),
            interface,
            pod_time,
        )
        for key, stream in zip(connection.keys, connection.streams, strict=True):
            stream.last_seen = now
            self.flows[key] = stream
        self._by_number[number] = self._unopened[number] = connection
        self._charge(connection, CONNECTION_BYTES)
        most = max(self._budget.limit // (CONNECTION_BYTES * UNOPENED_SHARE), 1)
        while len(self._unopened) > most:
            self.remove(next(iter(self._unopened.values())))
        return connection

    def settle(self, connection: Connection) -> None:
        """Keep a connection whatever else comes: it is more than a SYN."""
        self._unopened.pop(connection.number, None)

    def bury(self, connection: Connection, until: float) -> None:
        """Keep a connection that ended until that time, monotonic seconds; longer, if one before it is kept longer."""
        self.settle(connection)
        self._charge(connection, TOMBSTONE_BYTES)
        self._buried.append((until, connection))
        most = max(self._budget.limit // (TOMBSTONE_BYTES * TOMBSTONE_SHARE), 1)
        while len(self._buried) > most:
            self.remove(self._buried.popleft()[1])

    def forget_buried(self, now: float) -> None:
        """Remove those whose time has come."""
        while self._buried and self._buried[0][0] <= now:
            self.remove(self._buried.popleft()[1])

    def remove(self, connection: Connection) -> None:
        """Remove a connection, if it is still there."""
        if self._by_number.pop(connection.number, None) is not None:
            self.settle(connection)
            connection.drop_early(self._budget)
            self._charge(connection, 0)
            for key in connection.keys:
                del self.flows[key]

    def _make_room(self) -> bool:
        """Give up what matters least until there is room for one more; False if all that is left matters."""
        while (full := self._is_full) or self._budget.held + CONNECTION_BYTES > self._budget.limit:
            if self._buried:
                self.remove(self._buried.popleft()[1])
            elif self._unopened:
                self.remove(next(iter(self._unopened.values())))
            elif full or not self._budget.reclaim():
                return False
        return True

    @property
    def _is_full(self) -> bool:
        return (
            len(self._by_number) >= self._max_connections
            or (self.held + CONNECTION_BYTES) * TABLE_SHARE > self._budget.limit
        )

    def _charge(self, connection: Connection, size: int) -> None:
        """Hold so much for a connection from now on: what there was room for, or less."""
        more = size - connection.charged
        connection.charged = size
        self.held += more
        if more > 0:
            self._budget.take(more)
        else:
            self._budget.give(-more)


def _key(segment: Segment) -> bytes:
    ports = _PORTS.pack(segment.source_port, segment.destination_port)
    return segment.source + segment.destination + ports


def _reverse_key(segment: Segment) -> bytes:
    ports = _PORTS.pack(segment.destination_port, segment.source_port)
    return segment.destination + segment.source + ports
