"""Why and how an agent ends, as its layers see it over real sockets."""

import asyncio
import logging

import pytest

from podmirror_agent import conversation
from podmirror_wire.frames import Closed, Credit, Data, Goodbye, Greeting, Ledger, Opened
from podmirror_wire.values import CloseReason
from tests.agent.conversation import TestLayer
from tests.agent.packets import Talk
from tests.agent.serving import running

SOON = 0.2


# The agent's end.


async def test_agent_that_no_layer_ever_called_ends(clock):
    async with running(ttl=0.05) as agent:
        await clock.until_done(agent.task)
        assert await agent.end() == "no layer connected for 0.05 s"
        assert agent.source.closed


async def test_strangers_do_not_count_as_layers(clock):
    async with running(ttl=SOON) as agent, await TestLayer.connect(agent.port) as stranger:
        await stranger.receive(Greeting)

        await clock.until_done(agent.task)
        assert await agent.end() == f"no layer connected for {SOON} s"


async def test_goodbye_ends_the_agent_at_once():
    async with running() as agent, await agent.layer() as layer:
        layer.send(Goodbye("done here"))

        assert await agent.end() == "the layer said goodbye: done here"
        assert any(isinstance(frame, Goodbye) for frame in await layer.receive_all())
        assert agent.source.closed


async def test_goodbye_is_answered_with_what_was_ready_and_the_ledger():
    talk = Talk()
    async with running() as agent, await agent.layer() as layer:
        await layer.subscribe(80)
        agent.put(*talk.handshake(), talk.says(b"last words"))
        await layer.receive(Opened)
        layer.send(Goodbye("done"))

        frames = await layer.receive_all()

        assert [type(frame) for frame in frames if not isinstance(frame, Closed)] == [Data, Ledger, Goodbye]
        assert frames[-2].counts["bytes_seen"] == 10


async def test_goodbye_of_one_layer_does_not_end_the_other():
    async with running() as agent, await agent.layer() as stays:
        async with await agent.layer() as leaves:
            leaves.send(Goodbye("done"))
            await leaves.receive_all()
        await stays.settled()

        stays.send(Goodbye("done, too"))
        assert await agent.end() == "the layer said goodbye: done, too"


async def test_lost_layer_is_waited_for(clock):
    async with running(ttl=SOON) as agent:
        async with await agent.layer() as layer:
            await layer.subscribe(80)
        lost = clock.now

        await clock.until_done(agent.task)
        assert await agent.end() == f"the layer was lost, and none came back for {SOON} s"
        assert clock.now - lost >= SOON
        assert agent.source.ports == [{80}, frozenset()]


async def test_layer_that_resets_its_connection_is_lost(clock):
    async with running(ttl=SOON) as agent:
        layer = await agent.layer()
        layer.writer.transport.abort()

        await clock.until_done(agent.task)
        assert await agent.end() == f"the layer was lost, and none came back for {SOON} s"


async def test_layer_that_comes_back_keeps_the_agent(clock):
    async with running(ttl=SOON) as agent:
        async with await agent.layer():
            pass
        async with await agent.layer() as again:
            await clock.wind(2 * SOON)

            assert not agent.task.done()
            await again.settled()


async def test_connected_layer_keeps_the_agent(clock):
    async with running(ttl=SOON) as agent, await agent.layer() as layer:
        await clock.wind(2 * SOON)

        assert not agent.task.done()
        await layer.settled()


async def test_silent_layer_is_lost(monkeypatch, clock):
    monkeypatch.setattr(conversation, "SILENCE_SECONDS", 0.05)
    async with running(ttl=0.05) as agent, await agent.layer():
        await clock.until_done(agent.task)
        assert await agent.end() == "the layer was lost, and none came back for 0.05 s"


async def test_maximum_age_ends_the_agent_whatever_happens(clock):
    async with running(max_age=0.3) as agent, await agent.layer() as layer:
        await layer.settled()

        await clock.until_done(agent.task)
        assert await agent.end() == "the maximum age of 0.3 s was reached"
        assert any(isinstance(frame, Goodbye) for frame in await layer.receive_all())


async def test_stop_tells_the_layers():
    talk = Talk()
    async with running() as agent, await agent.layer() as first, await agent.layer() as second:
        for layer in (first, second):
            await layer.subscribe(80)
        agent.put(*talk.handshake())
        for layer in (first, second):
            await layer.receive(Opened)

        agent.server.stop("asked to")
        agent.server.stop("asked to again")

        assert await agent.end() == "asked to"
        for layer in (first, second):
            frames = await layer.receive_all()
            assert Closed(1, CloseReason.AGENT_ENDED, 0) in frames
            assert isinstance(frames[-1], Goodbye)


async def test_an_end_while_a_layer_is_parting_does_not_reset_its_connection(monkeypatch):
    monkeypatch.setattr(conversation, "FAREWELL_SECONDS", SOON)
    talk = Talk()
    async with running() as agent, await agent.layer() as layer:
        await layer.subscribe(80)
        agent.put(*talk.handshake(), talk.says(b"hello"))
        await layer.receive(Opened)
        layer.send(Goodbye("done"))
        await asyncio.sleep(SOON / 4)
        agent.server.stop("the file is read")
        await asyncio.sleep(SOON / 4)
        for _ in range(2):  # only the second meets a reset
            layer.send(Credit(1, 1))
            await asyncio.sleep(SOON / 10)

        assert not layer.writer.transport.is_closing()
        assert isinstance((await layer.receive_all())[-1], Goodbye)


async def test_end_with_layers_is_no_error(caplog):
    async with running() as agent, await agent.layer() as layer:
        await layer.settled()
        agent.server.stop("asked to")
        await agent.end()
        await layer.receive_all()

    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_stop_frees_the_port():
    async with running() as agent:
        async with await agent.layer() as layer:
            await layer.settled()
        agent.server.stop("asked to")
        await agent.end()

        with pytest.raises(ConnectionError):
            await TestLayer.connect(agent.port)


async def test_fault_in_the_capture_ends_the_agent_with_that_fault():
    class Fault(Exception):
        pass

    def read_into(*_: object) -> None:
        raise Fault

    async with running() as agent:
        agent.source.read_into = read_into
        agent.source.put()

        with pytest.raises(Fault):
            await agent.end()
