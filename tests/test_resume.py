"""An agent and a layer with a proxy between them that breaks tunnels at random places, on loopback.

The layer must hear what one hears whose tunnel never breaks: the same connections, byte for byte, and nothing twice.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from podmirror.errors import NotStarted, TunnelLost
from podmirror.link import Link
from podmirror.progress import Progress
from podmirror.reopening import Reopening
from podmirror.session import Session
from podmirror_wire.frames import Closed, ConnectionFrame, Data, Ended, Opened
from tests.agent.packets import CLIENT, POD, End, Talk
from tests.agent.serving import SECRET, Agent, running
from tests.streams import SocketStream

if TYPE_CHECKING:
    from podmirror_wire.values import Direction

PATIENCE_SECONDS = 20.0
TALKS = 8
ROUNDS = 60


async def connected(port: int) -> SocketStream:
    try:
        return SocketStream(*await asyncio.open_connection("127.0.0.1", port))
    except OSError as error:
        raise NotStarted(str(error)) from error


class BreakingProxy:
    """Carries bytes both ways, some at a time, until a random number of them has passed; what it holds then is lost."""

    def __init__(self, port: int, chosen: random.Random) -> None:
        self._port = port
        self._chosen = chosen
        self.breaks = True
        self.broken = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        yield server.sockets[0].getsockname()[1]
        server.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        left = [self._chosen.choice([100, 300, 1_000, 10_000, 100_000])]
        ways = [
            asyncio.create_task(self._copy(reader, far_writer, left)),
            asyncio.create_task(self._copy(far_reader, writer, left)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for each in (writer, far_writer):
            each.transport.abort()
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: list[int]
    ) -> None:
        while data := await reader.read(self._chosen.choice([1, 50, 5_000])):
            writer.write(data)
            await writer.drain()
            left[0] -= len(data)
            if self.breaks and left[0] < 0:
                self.broken += 1
                return


class Hearer:
    """A session, and what its layer heard of each connection."""

    def __init__(self) -> None:
        self.told: dict[int, list[object]] = {}
        self.bytes: dict[tuple[int, Direction], bytes] = {}
        self.session: Session

    def receive(self, frame: ConnectionFrame) -> None:
        if isinstance(frame, Opened):
            assert frame.connection not in self.told
            self.told[frame.connection] = []
        if isinstance(frame, Data):
            key = frame.connection, frame.direction
            assert frame.offset == len(self.bytes.get(key, b""))
            self.bytes[key] = self.bytes.get(key, b"") + frame.payload
            self.session.link.give_credit(frame.connection, len(frame.payload))
        else:
            self.told[frame.connection].append(frame)

    @property
    def closed(self) -> int:
        return sum(isinstance(frames[-1], Closed) for frames in self.told.values())

    @asynccontextmanager
    async def hearing(self, port: int) -> AsyncIterator[None]:
        while True:  # a tunnel may break in its handshake
            stream = await connected(port)
            link = Link(stream, self.receive)
            try:
                await link.authenticate(SECRET)
                break
            except TunnelLost:
                await stream.close()
        reopening = Reopening(
            lambda: connected(port), self._lives, SECRET, ttl=PATIENCE_SECONDS, progress=Progress("none")
        )
        link.send_options({"responder": "bytes"})
        self.session = Session(link, self._nothing_known, reopening)
        await self.session.subscribe(80)
        yield
        await self.session.part("the test is over")
        await link.stream.close()

    async def _lives(self) -> bool:
        return False

    async def _nothing_known(self) -> str:
        return ""


async def talk_at_random(agent: Agent, chosen: random.Random) -> None:
    talks = [Talk(End(CLIENT, 40_000 + number, number), End(POD, 80, 1_000)) for number in range(TALKS)]
    for talk in talks:
        agent.put(*talk.handshake())
    for _ in range(ROUNDS):
        talk = chosen.choice(talks)
        speak = chosen.choice([talk.says, talk.answers])
        agent.put(speak(chosen.randbytes(chosen.choice([1, 100, 20_000]))))
        await asyncio.sleep(chosen.choice([0, 0, 0.001]))
    for talk in talks:
        agent.put(talk.fin(), talk.server_fin(), talk.ack())


@pytest.mark.parametrize("seed", range(12))
async def test_wherever_the_tunnel_breaks_the_layer_hears_the_same(seed, monkeypatch):
    monkeypatch.setattr("podmirror.reopening.FIRST_PAUSE_SECONDS", 0.001)
    chosen = random.Random(seed)
    broken, whole = Hearer(), Hearer()
    async with running() as agent:
        proxy = BreakingProxy(agent.port, chosen)
        async with (
            proxy.listening() as port,
            whole.hearing(agent.port),
            broken.hearing(port),
            asyncio.timeout(PATIENCE_SECONDS),
        ):
            await talk_at_random(agent, chosen)
            while whole.closed < TALKS or broken.closed < TALKS:
                await asyncio.sleep(0.001)
                if whole.closed == TALKS:
                    proxy.breaks = proxy.broken < 20
            proxy.breaks = False

        assert proxy.broken
    assert broken.session.link.restarts == 0
    assert broken.bytes == whole.bytes
    assert broken.told == whole.told
    assert sum(isinstance(frame, Ended) for frames in broken.told.values() for frame in frames) == 2 * TALKS
