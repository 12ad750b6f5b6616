"""Builders of the frames of one mirrored connection, as an agent sends them."""

from podmirror.link import ConnectionFrame
from podmirror_wire.frames import Closed, Data, Ended, Gap, Omitted, Opened
from podmirror_wire.values import CloseReason, Direction, Endpoint, GapReason

CLIENT = Endpoint("10.0.0.1", 40000)
POD_PORT = 80
HEAD = b"GET /orders?id=7 HTTP/1.1\r\nHost: shop\r\n\r\n"
OTHER_HEAD = b"PUT /orders/7 HTTP/1.1\r\nHost: shop\r\nContent-Length: 3\r\n\r\n"


class Talk:
    """A mirrored connection: each method gives the frame of that step, with the right offsets."""

    def __init__(self, connection: int = 1, *, late: bool = False, port: int = POD_PORT) -> None:
        self.connection = connection
        self.late = late
        self._port = port
        self._offsets = {Direction.TO_RESPONDER: 0, Direction.TO_INITIATOR: 0}

    def opened(self) -> Opened:
        responder = Endpoint("10.0.0.2", self._port)
        return Opened(self.connection, self.late, CLIENT, responder, 1_700_000_000_000_000_000, "eth0")

    def says(self, payload: bytes) -> Data:
        return Data(
            self.connection, Direction.TO_RESPONDER, self._move(Direction.TO_RESPONDER, len(payload)), payload
        )

    def answers(self, payload: bytes) -> Data:
        return Data(
            self.connection, Direction.TO_INITIATOR, self._move(Direction.TO_INITIATOR, len(payload)), payload
        )

    def omits(self, length: int, direction: Direction = Direction.TO_INITIATOR) -> Omitted:
        """The usual form of an answer, since nobody asked for its bytes, and of all bytes of a dismissed connection."""
        return Omitted(self.connection, direction, self._move(direction, length), length)

    def misses(self, length: int, direction: Direction = Direction.TO_RESPONDER) -> Gap:
        return Gap(self.connection, direction, self._move(direction, length), length, GapReason.MISSED)

    def ends(self, direction: Direction = Direction.TO_RESPONDER) -> Ended:
        return Ended(self.connection, direction, self._offsets[direction])

    def closes(self, reason: CloseReason = CloseReason.FINISHED, *, unsent: int = 0) -> Closed:
        return Closed(self.connection, reason, unsent)

    def whole(self, *payloads: bytes) -> list[ConnectionFrame]:
        """Give the frames of a connection of these payloads, answered by a few bytes after each."""
        frames: list[ConnectionFrame] = [self.opened()]
        for payload in payloads:
            frames += [self.says(payload), self.omits(20)]
        return [*frames, self.ends(), self.ends(Direction.TO_INITIATOR), self.closes()]

    def _move(self, direction: Direction, size: int) -> int:
        offset = self._offsets[direction]
        self._offsets[direction] += size
        return offset
