"""A layer for the tests: the other end of the agent's control connection, and a packet source of the test's own."""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from typing import Self, TypeVar

from podmirror_agent.mirror import Interest, Mirror
from podmirror_agent.packet import CapturedPacket
from podmirror_wire.decoder import Decoder
from podmirror_wire.frames import Accepted, AnyFrame, Ping, Subscribe, Subscribed
from podmirror_wire.handshake import LayerHandshake

DEADLINE_SECONDS = 10.0

F = TypeVar("F", bound=AnyFrame)


class FakeSource:
    """A `PacketSource` that gives what the test puts in, and notes what was asked of it."""

    def __init__(self) -> None:
        self._read_end, self._write_end = os.pipe()
        self._packets: list[CapturedPacket] = []
        self.ports: list[frozenset[int]] = []
        """The ports of each interest that was set."""
        self.dropped = 0
        self.closed = False
        self.behind = 0.0
        """Seconds that the oldest packet has waited."""

    def put(self, *packets: CapturedPacket) -> None:
        self._packets += packets
        os.write(self._write_end, b"!")

    def fileno(self) -> int:
        return self._read_end

    def why_not(self, expression: str) -> str:
        return "" if expression != "nonsense" else "the filter 'nonsense' is not understood: syntax error"

    def set_interest(self, interest: Interest) -> None:
        assert not self.closed, "the filter of a closed capture was set"
        self.ports.append(interest.ports)

    def read_into(self, mirror: Mirror, now: float) -> Iterator[int]:
        os.read(self._read_end, 1)
        packets, self._packets = self._packets, []
        mirror.receive_packets(packets, now)
        yield 0

    def seen_until(self, now: float) -> float:
        return now - self.behind

    def drops(self) -> int:
        assert not self.closed, "a closed capture was asked for its drops"
        return self.dropped

    def close(self) -> None:
        self.closed = True
        os.close(self._read_end)
        os.close(self._write_end)


class TestLayer:
    """A layer on a real socket: `receive` skips frames until one of that kind comes."""

    __test__ = False

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.decoder = Decoder()
        self.received: list[AnyFrame] = []
        """All that ever came, in order."""
        self._unread: list[AnyFrame] = []

    @classmethod
    async def connect(cls, port: int, **options: object) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", port, **options))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()

    async def leave(self) -> None:
        """Close the connection, without a goodbye."""
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    async def authenticate(self, secret: bytes) -> Accepted:
        handshake = LayerHandshake(secret)
        while handshake.accepted is None:
            answer = handshake.receive_frame(await self.next())
            if answer is not None:
                self.send(answer)
        return handshake.accepted

    def send(self, *frames: AnyFrame) -> None:
        self.writer.write(b"".join(frame.encode() for frame in frames))

    async def next(self) -> AnyFrame:
        """Give the next frame.

        Raises:
            EOFError: The agent closed the connection.
        """
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not self._unread:
                data = await self.reader.read(1 << 16)
                if not data:
                    raise EOFError
                self._unread += self.decoder.receive_data(data)
        self.received.append(self._unread.pop(0))
        return self.received[-1]

    async def receive(self, kind: type[F]) -> F:
        while True:
            frame = await self.next()
            if isinstance(frame, kind):
                return frame

    async def receive_all(self) -> list[AnyFrame]:
        """Give all that comes until the agent closes the connection."""
        frames: list[AnyFrame] = []
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                frames.append(await self.next())
        return frames

    async def subscribe(self, port: int, request: int = 1) -> Subscribed:
        self.send(Subscribe(request, port))
        return await self.receive(Subscribed)

    async def settled(self) -> None:
        """Return when the agent has dealt with all that was sent before: it answers in order."""
        self.send(Ping(424_242, 0))
        while True:
            frame = await self.next()
            if getattr(frame, "ping_time", None) == 424_242:
                return
