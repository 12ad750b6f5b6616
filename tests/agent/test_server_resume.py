"""A layer that is lost and comes back, over real sockets on loopback."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from podmirror_agent import conversation
from podmirror_agent.replay import MAX_RING_BYTES, MIN_RING_BYTES
from podmirror_wire.frames import (
    Accepted,
    AnyFrame,
    Credit,
    Data,
    End,
    Goodbye,
    Ledger,
    Opened,
    Options,
    Ping,
    Pong,
    Refused,
    Resume,
    Resumed,
)
from tests.agent.conversation import TestLayer
from tests.agent.packets import Talk
from tests.agent.serving import SECRET, Agent, running

SOON = 0.2
REPLAY = Options({"replay": str(MIN_RING_BYTES)})


class LastingLayer:
    """A layer that comes back."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.accepted: Accepted
        self.layer: TestLayer
        self._tunnels: list[TestLayer] = []

    async def leave(self) -> None:
        for tunnel in self._tunnels:
            await tunnel.leave()

    async def begin(self, *options: AnyFrame) -> TestLayer:
        self.layer = await self._connect()
        self.accepted = await self.layer.authenticate(SECRET)
        self.layer.decoder.received = 0
        self.layer.send(REPLAY, *options)
        return self.layer

    async def come_back(self, received: int | None = None) -> AnyFrame:
        """Open another tunnel, and give the answer."""
        lost, self.layer = self.layer, await self._connect()
        await self.layer.authenticate(SECRET)
        self.layer.send(
            Resume(self.accepted.session, lost.decoder.received if received is None else received)
        )
        while True:
            answer = await self.layer.next()
            if isinstance(answer, Resumed | Refused):
                return answer

    async def _connect(self) -> TestLayer:
        self._tunnels.append(await TestLayer.connect(self.agent.port))
        return self._tunnels[-1]


@asynccontextmanager
async def lasting_layer(**options: float) -> AsyncIterator[tuple[Agent, LastingLayer]]:
    async with running(**options) as agent:
        lasting = LastingLayer(agent)
        yield agent, lasting
        await lasting.leave()


async def test_a_layer_that_comes_back_hears_what_it_has_missed():
    talk = Talk()
    async with lasting_layer() as (agent, lasting):
        async with await lasting.begin() as layer:
            await layer.subscribe(80)
            agent.put(*talk.handshake(), talk.says(b"GET "))
            assert (await layer.receive(Data)).payload == b"GET "
        agent.put(talk.says(b"/ HTTP/1.1"))

        assert isinstance(await lasting.come_back(), Resumed)
        missed = await lasting.layer.receive(Data)
        agent.put(talk.says(b"\r\n"))

        assert (missed.offset, missed.payload) == (4, b"/ HTTP/1.1")
        assert (await lasting.layer.receive(Data)).payload == b"\r\n"
        assert agent.source.ports == [{80}]


async def test_what_was_on_its_way_comes_again():
    talk = Talk()
    async with lasting_layer() as (agent, lasting):
        async with await lasting.begin() as layer:
            await layer.subscribe(80)
            at = layer.decoder.received
            agent.put(*talk.handshake(), talk.says(b"GET /"))
            await layer.receive(Data)

        for _ in range(2):
            assert isinstance(await lasting.come_back(at), Resumed)
            assert isinstance(await lasting.layer.next(), Opened)
            assert (await lasting.layer.receive(Data)).payload == b"GET /"


async def test_the_agent_says_how_far_it_has_heard():
    async with lasting_layer() as (_agent, lasting):
        requests = Credit(1, 5), Ping(1, 0)
        async with await lasting.begin(*requests) as layer:
            await layer.receive(Pong)

        resumed = await lasting.come_back()
        lasting.layer.send(Ping(2, 0))

        assert resumed == Resumed(sum(len(frame.encode()) for frame in (REPLAY, *requests)))
        assert (await lasting.layer.receive(Pong)).received == resumed.received + len(Ping(2, 0).encode())


async def test_a_layer_that_comes_back_is_told_the_ledger_at_once():
    async with lasting_layer() as (agent, lasting):
        async with await lasting.begin() as layer:
            await layer.subscribe(80)
            await layer.receive(Ledger)
        agent.source.dropped = 7

        await lasting.come_back()

        assert (await lasting.layer.receive(Ledger)).counts["kernel_drops"] == 7


async def test_a_tunnel_that_the_agent_believes_to_be_alive_gives_way():
    talk = Talk()
    async with lasting_layer() as (agent, lasting), await lasting.begin() as stale:
        await stale.subscribe(80)

        assert isinstance(await lasting.come_back(), Resumed)

        agent.put(*talk.handshake(), talk.says(b"GET /"))
        assert await lasting.layer.receive(Data)
        assert not any(isinstance(frame, Opened) for frame in await stale.receive_all())


async def test_a_lost_session_is_kept_for_the_ttl_and_no_longer(clock):
    async with lasting_layer(ttl=SOON) as (agent, lasting), await agent.layer() as other:
        async with await lasting.begin() as layer:
            await layer.subscribe(80)
        await clock.wind(2 * SOON)

        assert await lasting.come_back() == Refused(0, "that session is over")
        assert agent.source.ports == [{80}, frozenset()]
        await other.settled()


async def test_a_session_that_begins_in_place_of_a_lost_one_is_like_any_other():
    talk = Talk()
    async with lasting_layer() as (agent, lasting), await agent.layer() as other:
        await other.settled()
        async with await lasting.begin():
            pass
        lasting.accepted = Accepted(bytes(16), 0)
        await lasting.come_back()
        await lasting.layer.subscribe(80)
        agent.put(*talk.handshake(), talk.says(b"GET /"))

        assert (await lasting.layer.receive(Data)).payload == b"GET /"


async def test_a_lost_layer_that_does_not_come_back_ends_the_agent(clock):
    async with lasting_layer(ttl=SOON) as (agent, lasting):
        async with await lasting.begin() as layer:
            await layer.subscribe(80)

        await clock.until_done(agent.task)
        assert await agent.end() == f"the layer was lost, and none came back for {SOON} s"


async def test_a_lost_layer_that_came_back_keeps_the_agent(clock):
    async with lasting_layer(ttl=SOON) as (agent, lasting):
        async with await lasting.begin() as layer:
            await layer.settled()
        await lasting.come_back()
        await clock.wind(2 * SOON)

        await lasting.layer.settled()
        lasting.layer.send(Goodbye("done"))
        await clock.until_done(agent.task)
        assert await agent.end() == "the layer said goodbye: done"


async def test_a_goodbye_does_not_end_an_agent_that_waits_for_a_lost_layer():
    async with lasting_layer() as (agent, lasting), await agent.layer() as other:
        async with await lasting.begin() as layer:
            await layer.settled()
        other.send(Goodbye("done"))
        await other.receive_all()

        assert isinstance(await lasting.come_back(), Resumed)


async def test_an_agent_that_waits_for_a_lost_layer_ends_when_told_to(caplog):
    async with lasting_layer() as (agent, lasting):
        async with await lasting.begin() as layer:
            await layer.subscribe(80)
        agent.server.stop("asked to")

        assert await agent.end() == "asked to"
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_any_layer_may_ask_for_the_agents_end():
    async with running() as agent, await agent.layer() as other, await agent.layer() as layer:
        layer.send(End("clean"))

        assert await agent.end() == "a layer asked for its end: clean"
        assert isinstance((await other.receive_all())[-1], Goodbye)


async def test_a_session_is_resumed_before_anything_else_or_not_at_all():
    async with running() as agent, await agent.layer() as layer:
        layer.send(Ping(1, 0), Resume(bytes(16), 0))

        refused = Refused(0, "a session is resumed before anything else, or not at all")
        assert refused in await layer.receive_all()


@pytest.mark.parametrize("size", ["0", "-1", "many", "1" * 11])
async def test_a_ring_of_an_absurd_size_is_refused(size):
    async with running() as agent, await agent.layer() as layer:
        layer.send(Options({"replay": size}))

        assert Refused(0, f"this agent has no option replay={size}") in await layer.receive_all()


async def test_of_the_least_memory_a_ring_leaves_room_for_connections():
    async with running() as agent, await agent.layer() as layer:
        agent.mirror.budget.limit = 4 << 20  # what a pod with a limit of 100 MiB has room for
        layer.send(Options({"replay": str(MAX_RING_BYTES)}))
        await layer.subscribe(80)
        agent.put(*Talk().handshake())

        assert isinstance(await layer.next(), Opened)


async def test_a_session_that_asks_for_nothing_to_be_kept_is_over_with_its_tunnel():
    async with running() as agent, await agent.layer() as other:
        async with await agent.layer() as layer:
            await layer.subscribe(80)
        await other.settled()

        assert agent.source.ports == [{80}, frozenset()]
        assert agent.mirror.budget.held == 0


async def test_a_silent_layer_may_come_back(monkeypatch, clock):
    monkeypatch.setattr(conversation, "SILENCE_SECONDS", 0.05)
    async with lasting_layer() as (_agent, lasting):
        async with await lasting.begin() as layer:
            await clock.until_done(asyncio.create_task(layer.receive_all()))

        assert isinstance(await lasting.come_back(), Resumed)
