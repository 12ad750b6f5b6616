"""The handshake at the beginning of a stream to an agent, and what comes right behind it."""

import asyncio

import pytest

from podmirror.errors import AgentLost
from podmirror.link import Link
from podmirror_wire.errors import AuthenticationFailed, ProtocolError, VersionMismatch
from podmirror_wire.frames import (
    MAGIC,
    PROTOCOL_VERSION,
    Accepted,
    Goodbye,
    Greeting,
    Hello,
    Ledger,
    Proof,
    Refused,
)
from podmirror_wire.version import __version__
from tests.layer.agents import PATIENCE_SECONDS, SECRET, ScriptedAgent, linked, part, stream_pair
from tests.layer.deadlines import until
from tests.layer.frames import HEAD, Talk

GREETING = Greeting(MAGIC, PROTOCOL_VERSION, __version__)


async def test_the_handshake():
    async with linked() as (_, agent):
        assert agent.handshake.authenticated


async def test_a_handshake_in_single_bytes():
    near, far = stream_pair()
    link, agent = Link(near, lambda _: None), ScriptedAgent(far)
    send_whole = far.send

    async def send_bytewise(data: bytes) -> None:
        for byte in data:
            await send_whole(bytes((byte,)))

    far.send = send_bytewise
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.gather(link.authenticate(SECRET), agent.accept())


async def test_an_agent_of_another_version_is_told_nothing():
    near, far = stream_pair()
    agent = ScriptedAgent(far, version="9.9.9")
    await agent.send(agent.handshake.greeting())

    with pytest.raises(VersionMismatch, match=r"9\.9\.9"):
        await Link(near, lambda _: None).authenticate(SECRET)

    assert far.incoming.empty()


async def test_an_agent_of_another_session_is_not_told_the_secret():
    near, far = stream_pair()
    agent = ScriptedAgent(far, secret=bytes(32))
    authenticating = asyncio.create_task(Link(near, lambda _: None).authenticate(SECRET))
    await agent.send(agent.handshake.greeting())
    await agent.send(agent.handshake.receive_frame(await agent.expect(Hello)))

    with pytest.raises(AuthenticationFailed, match="another session"):
        await authenticating
    assert far.incoming.empty()


async def test_an_agent_that_refuses():
    near, far = stream_pair()
    agent = ScriptedAgent(far)
    authenticating = asyncio.create_task(Link(near, lambda _: None).authenticate(SECRET))
    await agent.send(agent.handshake.greeting())
    await agent.send(agent.handshake.receive_frame(await agent.expect(Hello)))
    await agent.send(Refused(0, "it is occupied"))

    with pytest.raises(AuthenticationFailed, match="it is occupied"):
        await authenticating


@pytest.mark.parametrize(
    "stranger",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        Greeting(b"NOPE", 1, "1").encode(),
        Proof(bytes(32)).encode(),
        Accepted(bytes(16), 1).encode(),
    ],
)
async def test_a_stranger_on_the_port(stranger):
    near, far = stream_pair()
    await far.send(stranger)

    with pytest.raises(ProtocolError):
        await Link(near, lambda _: None).authenticate(SECRET)
    assert far.incoming.empty()


async def test_a_stream_that_ends_during_the_handshake():
    near, far = stream_pair()
    await far.send(GREETING.encode()[:5])
    await far.close()

    with pytest.raises(AgentLost, match="during the handshake"):
        await Link(near, lambda _: None).authenticate(SECRET)


async def test_frames_right_behind_the_acceptance_are_not_lost():
    talk = Talk()
    opened, data = talk.opened(), talk.says(HEAD)
    received = []
    async with linked(opened, data, Ledger({"segments": 3}), receiver=received.append) as (link, agent):
        running = asyncio.create_task(link.run())
        await until(lambda: link.counts)

        assert received == [opened, data]
        assert link.counts == {"segments": 3}
        assert link.counted is not None
        await part(link, agent, running)


async def test_a_goodbye_right_behind_the_acceptance():
    async with linked(Goodbye("I was about to go")) as (link, _):
        with pytest.raises(AgentLost, match="the agent ended: I was about to go"):
            await link.run()
