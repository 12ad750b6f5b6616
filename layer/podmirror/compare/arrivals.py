"""When what came from an agent. No I/O: the times are given."""

from podmirror.compare.numbers import NUMBER
from podmirror_wire.frames import ConnectionFrame, Data, Opened
from podmirror_wire.values import Direction


class Arrivals:
    """Notes the times of frames."""

    def __init__(self) -> None:
        self.first_byte: float | None = None
        """When the first byte came, monotonic seconds."""
        self.latest = 0.0
        """When any frame came last, monotonic seconds."""
        self.begun: dict[int, float] = {}
        """The pod's time of the first packet of each connection that was seen from its beginning, by its number."""
        self.opened: dict[int, float] = {}
        """When the news of it came, seconds since 1970."""
        self.first_requests: dict[int, float] = {}
        """The pod's time of the first packet of a connection, by the number of its first request."""
        self._silent: set[int] = set()
        """Connections of which no byte came yet."""

    def receive_frame(self, frame: ConnectionFrame, now: float, monotonic: float) -> None:
        """Take a frame that came now."""
        self.latest = monotonic
        if isinstance(frame, Opened) and not frame.late:
            self.begun[frame.connection] = frame.pod_time / 1e9
            self.opened[frame.connection] = now
            self._silent.add(frame.connection)
        elif isinstance(frame, Data) and frame.direction is Direction.TO_RESPONDER:
            self.first_byte = self.first_byte or monotonic
            if frame.connection in self._silent:
                self._silent.discard(frame.connection)
                number = NUMBER.search(frame.payload)
                if number is not None:
                    self.first_requests[int(number[1])] = self.begun[frame.connection]
