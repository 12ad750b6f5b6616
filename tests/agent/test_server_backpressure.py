"""Layers that do not read what the agent sends them, and what that does to the others and to its end."""

import asyncio
import contextlib
import socket
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

from podmirror_agent.outbox import MAX_ASKED_BYTES
from podmirror_wire.frames import Data, Goodbye, Options, Ping
from tests.agent import ending
from tests.agent.conversation import TestLayer
from tests.agent.packets import Talk
from tests.agent.serving import SECRET, Agent, running

ROOT = Path(__file__).parents[2]


# Layers that do not read.

SMALL = 16 * 1024


async def connected_with_little_room(port: int) -> socket.socket:
    near = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    near.setblocking(False)
    await asyncio.get_running_loop().sock_connect(near, ("127.0.0.1", port))
    return near


async def stuck_layer(agent: Agent) -> TestLayer:
    """A layer with far more on its way than its sockets hold, which it does not read."""
    near = await connected_with_little_room(agent.port)
    layer = TestLayer(*await asyncio.open_connection(sock=near, limit=1024))
    await layer.authenticate(SECRET)
    layer.send(Options({"window": str(32 << 20)}))
    await layer.subscribe(80)
    layer.writer.transport.pause_reading()
    talk = Talk()
    agent.put(*talk.handshake(), *(talk.says(bytes(50_000)) for _ in range(40)))
    return layer


async def test_layer_that_does_not_read_does_not_stall_another():
    async with running(SO_SNDBUF=SMALL) as agent, await stuck_layer(agent), await agent.layer() as other:
        await other.settled()


async def test_layer_that_asks_for_more_than_it_reads_is_refused():
    """Its answers would take memory without a bound."""
    async with running() as agent, await agent.layer() as reading:
        near = await connected_with_little_room(agent.port)
        layer = TestLayer(*await asyncio.open_connection(sock=near, limit=1024))
        await layer.authenticate(SECRET)
        layer.writer.transport.pause_reading()
        pings = Ping(0, 0).encode() * 10_000
        asked = 0
        with contextlib.suppress(ConnectionError):
            while asked < 10 * MAX_ASKED_BYTES:
                layer.writer.write(pings)
                await layer.writer.drain()
                asked += len(pings)

        assert asked < 10 * MAX_ASKED_BYTES
        assert await reading.subscribe(80)


async def test_layer_that_does_not_read_delays_the_end_by_no_more_than_the_farewell(clock):
    async with running(SO_SNDBUF=SMALL) as agent, await stuck_layer(agent):
        agent.server.stop("asked to")

        await clock.until_done(agent.task, seconds=1.0)
        assert agent.task.result() == "asked to"


async def test_goodbye_of_a_layer_that_does_not_read_ends_the_agent_too(clock):
    async with running(SO_SNDBUF=SMALL) as agent, await stuck_layer(agent) as stuck:
        stuck.send(Goodbye("done, and reading no more"))

        await clock.until_done(agent.task, seconds=2.0)

        assert agent.task.result() == "the layer said goodbye: done, and reading no more"


async def test_layer_that_does_not_read_keeps_no_goodbye_from_another():
    async with running(SO_SNDBUF=SMALL) as agent, contextlib.AsyncExitStack() as stack:
        for _ in range(8):
            await stack.enter_async_context(await stuck_layer(agent))
        other = await stack.enter_async_context(await agent.layer())

        agent.server.stop("asked to")

        await agent.end()
        assert any(isinstance(frame, Goodbye) for frame in await other.receive_all())


async def test_goodbye_reaches_a_layer_that_is_behind():
    """In a process of its own, as the program is: what its event loop has not sent when it ends is lost."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.agent.ending", SECRET.hex(), cwd=ROOT, stdin=PIPE, stdout=PIPE
    )
    try:
        port = int(await process.stdout.readline())
        near = await connected_with_little_room(port)
        async with TestLayer(*await asyncio.open_connection(sock=near, limit=1024)) as layer:
            await layer.authenticate(SECRET)
            await layer.subscribe(80)
            layer.writer.transport.pause_reading()
            assert await process.stdout.readline() == b"packets were read\n"
            process.stdin.write(b"stop\n")
            layer.writer.transport.resume_reading()

            frames = await layer.receive_all()
        await process.wait()
    finally:
        process.stdin.close()
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert sum(len(frame.payload) for frame in frames if isinstance(frame, Data)) == ending.BYTES
    assert isinstance(frames[-1], Goodbye)
