"""Where connections are found: by their flows, as packets name them, and by their numbers, as sessions do."""

import struct
from collections import deque

from podmirror_agent.budget import Budget
from podmirror_agent.connection import Connection
from podmirror_agent.segment import Segment
from podmirror_agent.stream import Stream
from podmirror_wire.values import Direction

MAX_CONNECTIONS = 65_536
"""Tracked at once, tombstones included; about 2 KiB each."""

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
        self._by_number: dict[int, Connection] = {}
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
        if len(self._by_number) >= self._max_connections:
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
        self._by_number[number] = connection
        return connection

    def bury(self, connection: Connection, until: float) -> None:
        """Keep a connection that ended until that time, monotonic seconds; the times of successive calls must not fall."""
        self._buried.append((until, connection))

    def forget_buried(self, now: float) -> None:
        """Remove those whose time has come."""
        while self._buried and self._buried[0][0] <= now:
            self.remove(self._buried.popleft()[1])

    def remove(self, connection: Connection) -> None:
        """Remove a connection, if it is still there."""
        if self._by_number.pop(connection.number, None) is not None:
            for key in connection.keys:
                del self.flows[key]


def _key(segment: Segment) -> bytes:
    ports = _PORTS.pack(segment.source_port, segment.destination_port)
    return segment.source + segment.destination + ports


def _reverse_key(segment: Segment) -> bytes:
    ports = _PORTS.pack(segment.destination_port, segment.source_port)
    return segment.destination + segment.source + ports
