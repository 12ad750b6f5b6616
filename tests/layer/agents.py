"""A scripted agent at the other end of an in-memory stream; it speaks through podmirror_wire alone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from podmirror.errors import TunnelLost
from podmirror.link import ConnectionFrame, Link
from podmirror_wire.decoder import Decoder
from podmirror_wire.frames import Accepted, AnyFrame, Goodbye, Options, Ping
from podmirror_wire.handshake import AgentHandshake, verifier_of
from podmirror_wire.version import __version__

SECRET = bytes(range(32))
PATIENCE_SECONDS = 14.0
"""After which a test that waits for something has failed."""

Kind = TypeVar("Kind", bound=AnyFrame)


class MemoryStream:
    """One end of an in-memory stream."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self.peer: MemoryStream | None = None
        self.closed = False
        self.send_error: Exception | None = None

    async def receive(self) -> bytes:
        data = await self.incoming.get()
        if isinstance(data, Exception):
            raise data
        return data

    async def send(self, data: bytes) -> None:
        if self.send_error is not None:
            raise self.send_error
        assert self.peer is not None
        self.peer.incoming.put_nowait(data)

    async def close(self) -> None:
        self.closed = True
        assert self.peer is not None
        self.peer.incoming.put_nowait(b"")

    def break_off(self, words: str) -> None:
        """Let this end see the stream break."""
        self.incoming.put_nowait(TunnelLost(words))


def stream_pair() -> tuple[MemoryStream, MemoryStream]:
    one, other = MemoryStream(), MemoryStream()
    one.peer, other.peer = other, one
    return one, other


class ScriptedAgent:
    """Does what a test tells it to."""

    def __init__(self, stream: MemoryStream, *, secret: bytes = SECRET, version: str = __version__) -> None:
        self.stream = stream
        self.handshake = AgentHandshake(verifier_of(secret), version=version)
        self._decoder = Decoder()
        self._frames: list[AnyFrame] = []
        self.pings: list[Ping] = []

    async def send(self, *frames: AnyFrame) -> None:
        """Send frames in one piece."""
        await self.stream.send(b"".join(frame.encode() for frame in frames))

    async def receive(self) -> AnyFrame:
        """Give the layer's next frame."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.receive_calmly()

    async def receive_calmly(self) -> AnyFrame:
        """Give the layer's next frame, however long it takes."""
        while not self._frames:
            data = await self.stream.receive()
            assert data, "the layer closed the stream"
            self._frames += self._decoder.receive_data(data)
        return self._frames.pop(0)

    async def expect(self, kind: type[Kind]) -> Kind:
        """Give the layer's next frame, which must be of that kind; its pings are noted, and not answered."""
        while True:
            frame = await self.receive()
            if isinstance(frame, kind):
                return frame
            if isinstance(frame, Options) and "replay" in frame.settings:
                continue
            assert isinstance(frame, Ping), f"{frame} in place of {kind.__name__}"
            self.pings.append(frame)

    async def accept(self, *early: AnyFrame) -> None:
        """Carry the handshake through; `early` frames come in the same bytes as the last one."""
        await self.send(self.handshake.greeting())
        while not self.handshake.authenticated:
            answer = self.handshake.receive_frame(await self.receive())
            if answer is not None:
                await self.send(answer)
        await self.send(Accepted(bytes(16), 1), *early)

    async def part(self, *last: AnyFrame) -> Goodbye:
        """Wait for the layer's goodbye, and answer it."""
        goodbye = await self.expect(Goodbye)
        await self.send(*last, Goodbye("as you wish"))
        return goodbye


@asynccontextmanager
async def linked(
    *early: AnyFrame, receiver: Callable[[ConnectionFrame], None] = lambda _: None
) -> AsyncIterator[tuple[Link, ScriptedAgent]]:
    """Give a link that is authenticated to a scripted agent."""
    near, far = stream_pair()
    link, agent = Link(near, receiver), ScriptedAgent(far)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.gather(link.authenticate(SECRET), agent.accept(*early))
    yield link, agent


async def part(link: Link, agent: ScriptedAgent, running: "asyncio.Task[str]") -> None:
    """End a conversation that goes well."""
    link.say_goodbye("the test is over")
    await agent.part()
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await running == "as you wish"
