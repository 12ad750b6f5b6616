"""A link that goes on over another stream, against a scripted agent."""

import asyncio

import pytest

from podmirror import link as link_module
from podmirror.errors import AgentLost, TunnelLost
from podmirror.link import REPLAY_BYTES, Link
from podmirror_wire.errors import AuthenticationFailed
from podmirror_wire.frames import (
    AnyFrame,
    Closed,
    Credit,
    Data,
    Gap,
    Goodbye,
    Ledger,
    Options,
    Ping,
    Pong,
    Received,
    Refused,
    Resume,
    Resumed,
    Subscribe,
    Subscribed,
)
from podmirror_wire.values import CloseReason, Direction, GapReason
from tests.layer.agents import PATIENCE_SECONDS, SECRET, ScriptedAgent, linked, stream_pair
from tests.layer.deadlines import until
from tests.layer.frames import HEAD, Talk


def size(*frames: AnyFrame) -> int:
    return sum(len(frame.encode()) for frame in frames)


async def lose(link: Link, agent: ScriptedAgent, running: "asyncio.Task[str]") -> None:
    await agent.stream.close()
    with pytest.raises(TunnelLost):
        await running


async def come_back(link: Link, *answers: AnyFrame) -> tuple[bool, ScriptedAgent, Resume]:
    """Resume over another stream, on which the agent answers with these frames, in one piece."""
    near, far = stream_pair()
    agent = ScriptedAgent(far)
    async with asyncio.timeout(PATIENCE_SECONDS):
        resuming = asyncio.create_task(link.resume(near, SECRET))
        await agent.accept()
        wish = await agent.expect(Resume)
        await agent.send(*answers)
        return await resuming, agent, wish


async def test_it_says_how_far_it_has_heard_and_goes_on_there():
    talk, received = Talk(), []
    before, after = [talk.opened(), talk.says(b"GET ")], [talk.says(b"/"), talk.closes()]
    async with linked(*before, receiver=received.append) as (link, lost):
        running = asyncio.create_task(link.run())
        await lost.stream.send(after[0].encode()[:7])  # of which nothing counts
        await until(lambda: received == before)
        await lose(link, lost, running)

        resumed, agent, wish = await come_back(link, Ledger({"gaps": 9}), Resumed(0), *after)
        running = asyncio.create_task(link.run())
        await until(lambda: len(received) == 4)
        await agent.send(Ping(1, 0))
        pong = await agent.expect(Pong)

        assert resumed
        assert wish == Resume(bytes(16), size(*before))
        assert received == before + after
        assert link.counts == {}  # which that other session said
        assert pong.received == size(*before, *after, Ping(1, 0))
        running.cancel()


async def test_what_the_agent_has_not_heard_is_said_again():
    async with linked() as (link, before):
        running = asyncio.create_task(link.run())
        first = await before.expect(Ping)
        link.give_credit(1, 100)
        link.give_credit(2, 200)
        await before.expect(Credit)
        await before.expect(Credit)
        await lose(link, before, running)
        link.give_credit(3, 300)

        _, agent, _ = await come_back(link, Resumed(size(first, Credit(1, 100))))
        running = asyncio.create_task(link.run())

        assert await agent.expect(Credit) == Credit(2, 200)
        assert await agent.expect(Credit) == Credit(3, 300)
        running.cancel()


async def test_a_subscription_that_is_under_way_is_not_lost():
    async with linked() as (link, before):
        running = asyncio.create_task(link.run())
        subscribing = asyncio.create_task(link.subscribe(80))
        await before.expect(Subscribe)
        await lose(link, before, running)

        _, agent, _ = await come_back(link, Resumed(0))
        running = asyncio.create_task(link.run())
        await agent.send(Subscribed((await agent.expect(Subscribe)).request, 1))

        assert (await subscribing).request == 1
        running.cancel()


async def test_the_agent_is_told_what_came_now_and_then(monkeypatch):
    monkeypatch.setattr(link_module, "ACKNOWLEDGED_BYTES", 1000)
    talk = Talk()
    frames = [talk.opened(), *(talk.says(bytes(300)) for _ in range(10))]
    async with linked() as (link, agent):
        running = asyncio.create_task(link.run())
        told = []
        for frame in frames:
            await agent.send(frame)
        while not told or told[-1] < size(*frames) - 1000:
            told.append((await agent.expect(Received)).received)

        assert all(later - earlier >= 1000 for earlier, later in zip([0, *told], told, strict=False))
        running.cancel()


async def test_an_answer_to_a_ping_of_the_lost_tunnel_says_nothing_about_the_clock():
    async with linked() as (link, before):
        running = asyncio.create_task(link.run())
        ping = await before.expect(Ping)
        await lose(link, before, running)
        await asyncio.sleep(0.001)

        _, _agent, _ = await come_back(
            link, Resumed(0), Pong(ping.time, ping.time + 10**15, 0), Ledger({"a": 1})
        )
        running = asyncio.create_task(link.run())
        await until(lambda: link.counts)

        assert link.clock_offset is None
        running.cancel()


async def test_where_the_session_is_over_another_begins_with_all_that_was_asked_for():
    talk, late, received = Talk(), Talk(late=True), []
    async with linked(talk.opened(), talk.says(HEAD), receiver=received.append) as (link, before):
        link.ask_for_replay()
        running = asyncio.create_task(link.run())
        subscribing = asyncio.create_task(link.subscribe(80))
        await before.send(
            Subscribed((await before.expect(Subscribe)).request, 1), Ledger({"gaps": 2, "packets": 5})
        )
        await subscribing
        await until(lambda: link.counts)
        await lose(link, before, running)
        link.give_credit(1, 100)  # to a session that is over

        resumed, agent, _ = await come_back(link, Ledger({"gaps": 0}), Refused(0, "that session is over"))
        running = asyncio.create_task(link.run())

        assert not resumed
        assert await agent.receive() == Options({"replay": str(REPLAY_BYTES)})
        assert await agent.receive() == Subscribe(1, 80)
        await agent.send(
            Subscribed(1, 2), late.opened(), late.says(b"more"), Ledger({"gaps": 1, "packets": 7})
        )
        await until(lambda: len(received) == 6)
        assert received[2:4] == [
            Gap(talk.connection, Direction.TO_RESPONDER, 0, 0, GapReason.MISSED),
            Closed(talk.connection, CloseReason.AGENT_ENDED, 0),
        ]
        assert isinstance(received[5], Data)
        await until(lambda: link.counts == {"gaps": 3, "packets": 7})
        assert link.restarts == 1
        running.cancel()


async def test_the_new_session_can_be_resumed_in_its_turn():
    async with linked() as (link, before):
        link.ask_for_replay()
        running = asyncio.create_task(link.run())
        await lose(link, before, running)
        over = Refused(0, "that session is over")
        _, agent, wish = await come_back(link, over)
        running = asyncio.create_task(link.run())
        asked = Options({"replay": str(REPLAY_BYTES)})
        ping = await agent.expect(Ping)
        await lose(link, agent, running)

        resumed, _, again = await come_back(link, Resumed(size(wish, asked, ping)))

        assert resumed
        assert again == Resume(bytes(16), size(over))


async def test_somebody_else_on_the_port_hears_nothing():
    async with linked() as (link, agent):
        running = asyncio.create_task(link.run())
        await lose(link, agent, running)
        near, far = stream_pair()
        stranger = ScriptedAgent(far, secret=bytes(32))
        resuming = asyncio.create_task(link.resume(near, SECRET))
        await stranger.send(stranger.handshake.greeting())
        await stranger.send(stranger.handshake.receive_frame(await stranger.receive()))

        with pytest.raises(AuthenticationFailed):
            await resuming


async def test_a_goodbye_is_no_lost_tunnel():
    async with linked(Goodbye("evicted")) as (link, _):
        with pytest.raises(AgentLost) as lost:
            await link.run()
        assert not isinstance(lost.value, TunnelLost)
