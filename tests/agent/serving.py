"""A server on loopback, with a packet source of the test's own, that runs as long as a test does."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from podmirror_agent.budget import Budget
from podmirror_agent.mirror import Mirror
from podmirror_agent.packet import Way
from podmirror_agent.server import Server
from podmirror_wire.handshake import new_secret, verifier_of
from tests.agent import packets
from tests.agent.conversation import DEADLINE_SECONDS, FakeSource, TestLayer

SECRET = new_secret()
NEVER = 1000.0
"""Seconds: a test that waits for this fails by its time-out."""


FINDINGS = {"cpu_ns": "5"}
"""What every agent here tells of itself."""


class Agent:
    """A running server."""

    def __init__(self, listener: socket.socket, ttl: float, max_age: float) -> None:
        self.source = FakeSource()
        self.port = listener.getsockname()[1]
        self.mirror = Mirror(Budget(64 << 20))
        self.server = Server(
            self.source, self.mirror, verifier_of(SECRET), ttl=ttl, max_age=max_age, examine=lambda: FINDINGS
        )
        self.task = asyncio.create_task(self.server.serve(listener), name="agent")

    async def end(self) -> str:
        """Wait for its end, and give the reason."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self.task

    async def layer(self, **options: object) -> TestLayer:
        layer = await TestLayer.connect(self.port, **options)
        await layer.authenticate(SECRET)
        return layer

    def put(self, *segments: object) -> None:
        self.source.put(
            *(
                packets.captured(each, Way.OUTGOING if each.source == bytes((10, 0, 0, 2)) else Way.INCOMING)
                for each in segments
            )
        )


def listening(**options: int) -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0))
    for name, value in options.items():
        listener.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
    return listener


@contextlib.asynccontextmanager
async def running(ttl: float = NEVER, max_age: float = NEVER, **options: int) -> AsyncIterator[Agent]:
    agent = Agent(listening(**options), ttl, max_age)
    try:
        yield agent
    finally:
        if not agent.task.done():
            agent.server.stop("the test is over")
            await agent.end()
