"""Who may talk to the agent over a real socket: layers of its session, and nobody else."""

import asyncio
import contextlib
import time

import pytest

from podmirror_agent import server as server_module
from podmirror_agent.server import MAX_CONVERSATIONS, STRANGER_FRAME_BYTES
from podmirror_wire.codec import HEADER
from podmirror_wire.errors import AuthenticationFailed
from podmirror_wire.frames import (
    PROTOCOL_VERSION,
    Accepted,
    Authenticate,
    Greeting,
    Hello,
    Options,
    Proof,
    Refused,
    Subscribe,
    Subscribed,
)
from podmirror_wire.handshake import new_secret
from podmirror_wire.version import __version__
from tests.agent.conversation import DEADLINE_SECONDS, TestLayer
from tests.agent.serving import SECRET, running

# The handshake.


async def test_layer_is_greeted_and_accepted():
    async with running() as agent, await TestLayer.connect(agent.port) as layer:
        before = time.time_ns()
        accepted = await layer.authenticate(SECRET)

        assert [type(frame) for frame in layer.received] == [Greeting, Proof, Accepted]
        assert before <= accepted.pod_time <= time.time_ns()
        assert len(accepted.session) == 16


async def test_wrong_secret_is_refused():
    async with running() as agent, await TestLayer.connect(agent.port) as layer:
        layer.send(Hello(PROTOCOL_VERSION, bytes(16), __version__), Authenticate(new_secret()))

        *_, refused = await layer.receive_all()

        assert isinstance(refused, Refused)
        assert "secret" in refused.reason
        assert agent.source.ports == []
        assert not agent.task.done()


async def test_layer_does_not_tell_its_secret_to_an_agent_of_another_session():
    async with running() as agent, await TestLayer.connect(agent.port) as layer:
        with pytest.raises(AuthenticationFailed):
            await layer.authenticate(new_secret())


async def test_other_protocol_is_refused_with_the_reason():
    async with running() as agent, await TestLayer.connect(agent.port) as layer:
        layer.send(Hello(PROTOCOL_VERSION + 1, bytes(16), "9.9.9"))

        assert (await layer.receive_all())[1:] == [
            Refused(0, f"this agent ({__version__}) speaks protocol 1, the layer (9.9.9) speaks 2")
        ]


@pytest.mark.parametrize(
    "noise",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", id="HTTP"),
        pytest.param(bytes(5), id="an empty frame"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS"),
        pytest.param(HEADER.pack(2, Authenticate.KIND) + b"x", id="a malformed frame"),
        pytest.param(Subscribe(1, 80).encode(), id="a frame without a handshake"),
    ],
)
async def test_stranger_is_refused_and_let_go(noise):
    async with running() as agent, await TestLayer.connect(agent.port) as layer:
        layer.writer.write(noise)

        frames = await layer.receive_all()

        assert isinstance(frames[0], Greeting)
        assert isinstance(frames[-1], Refused)
        assert agent.source.ports == []
        assert not agent.task.done()


async def test_stranger_cannot_announce_a_large_frame():
    """Which the agent would keep until it is complete, for as long as a handshake may take."""
    async with running() as agent:
        reader, writer = await asyncio.open_connection("127.0.0.1", agent.port)
        writer.write(HEADER.pack(STRANGER_FRAME_BYTES + 1, 255))

        async with asyncio.timeout(DEADLINE_SECONDS):
            assert b"over the limit" in await reader.read()
        writer.close()


async def test_peer_that_never_authenticates_is_let_go(monkeypatch):
    monkeypatch.setattr(server_module, "HANDSHAKE_SECONDS", 0.05)
    async with running() as agent, await TestLayer.connect(agent.port) as layer:
        assert len(await layer.receive_all()) == 1
        assert not agent.task.done()


async def test_peer_that_leaves_during_the_handshake_harms_nobody():
    async with running() as agent:
        layer = await TestLayer.connect(agent.port)
        await layer.receive(Greeting)
        await layer.leave()

        async with await agent.layer() as layer:
            await layer.subscribe(80)


async def test_handshake_may_arrive_byte_by_byte():
    async with running() as agent, await TestLayer.connect(agent.port) as layer:
        frames = (Hello(PROTOCOL_VERSION, bytes(16), __version__), Authenticate(SECRET), Subscribe(1, 80))
        for byte in b"".join(frame.encode() for frame in frames):
            layer.writer.write(bytes((byte,)))
            await layer.writer.drain()
        await layer.receive(Subscribed)


@pytest.mark.parametrize("window", [{}, {"window": "1000"}], ids=["without options", "with a window"])
async def test_layer_may_ask_before_it_knows_that_it_is_accepted(window):
    async with running() as agent, await TestLayer.connect(agent.port) as layer:
        layer.send(
            Hello(PROTOCOL_VERSION, bytes(16), __version__),
            Authenticate(SECRET),
            *([Options(window)] if window else []),
            Subscribe(1, 80),
        )
        await layer.receive(Subscribed)

        assert [type(frame) for frame in layer.received] == [Greeting, Proof, Accepted, Subscribed]


async def test_only_so_many_conversations_at_a_time():
    async with running() as agent, contextlib.AsyncExitStack() as stack:
        for _ in range(MAX_CONVERSATIONS):
            layer = await stack.enter_async_context(await TestLayer.connect(agent.port))
            await layer.receive(Greeting)
        one_more = await stack.enter_async_context(await TestLayer.connect(agent.port))

        assert await one_more.receive_all() == []
