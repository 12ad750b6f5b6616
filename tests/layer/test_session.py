"""A session: its subscriptions and its end, against a scripted agent."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from podmirror import session as session_module
from podmirror.errors import AgentLost, NotStarted
from podmirror.session import Session
from podmirror_wire.frames import (
    Goodbye,
    Ledger,
    Refused,
    Subscribe,
    Subscribed,
)
from tests.layer.agents import PATIENCE_SECONDS, linked
from tests.layer.deadlines import until


async def nothing_known() -> str:
    return ""


async def it_ended() -> str:
    return "the agent podmirror-1 ended: out of memory (exit code 137)"


@asynccontextmanager
async def session_of(explain=nothing_known):
    async with linked() as (link, agent):
        session = Session(link, explain)
        try:
            yield session, agent
        finally:
            session._running.cancel()
            await asyncio.gather(session._running, return_exceptions=True)


async def test_a_subscription():
    async with session_of() as (session, agent):
        subscribing = asyncio.create_task(session.subscribe(80))
        request = await agent.expect(Subscribe)
        assert not subscribing.done()
        await agent.send(Subscribed(request.request, 1))
        await subscribing
        assert not session.lost


async def test_a_subscription_that_is_refused():
    async with session_of() as (session, agent):
        subscribing = asyncio.create_task(session.subscribe(80))
        await agent.send(Refused((await agent.expect(Subscribe)).request, "no more ports"))
        with pytest.raises(NotStarted, match="no more ports"):
            await subscribing


async def test_an_agent_that_is_lost_during_a_subscription():
    async with session_of(it_ended) as (session, agent):
        subscribing = asyncio.create_task(session.subscribe(80))
        await agent.expect(Subscribe)
        await agent.stream.close()
        with pytest.raises(AgentLost, match="without a goodbye; the agent podmirror-1 ended: out of memory"):
            await subscribing
        assert session.lost


async def test_waiting_ends_when_the_agent_is_lost_and_tells_what_is_known():
    async with session_of(it_ended) as (session, agent):
        await agent.send(Goodbye("evicted"))
        with pytest.raises(AgentLost) as lost:
            await session.wait()

        assert str(lost.value) == (
            "the agent ended: evicted; the agent podmirror-1 ended: out of memory (exit code 137)"
        )
        assert session.lost


async def test_nothing_is_added_when_nothing_is_known():
    async with session_of() as (session, agent):
        await agent.send(Goodbye("evicted"))
        with pytest.raises(AgentLost) as lost:
            await session.wait()

        assert str(lost.value) == "the agent ended: evicted"


async def test_cancelling_the_waiting_leaves_the_session_as_it_is():
    async with session_of() as (session, agent):
        waiting = asyncio.create_task(session.wait())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

        subscribing = asyncio.create_task(session.subscribe(80))
        await agent.send(Subscribed((await agent.expect(Subscribe)).request, 1))
        await subscribing


async def test_parting_waits_for_the_last_ledger():
    async with session_of() as (session, agent):
        parting = asyncio.create_task(session.part("enough"))
        assert await agent.part(Ledger({"gaps": 2})) == Goodbye("enough")
        await parting

        assert session.link.counts == {"gaps": 2}
        assert not session.lost


async def test_parting_from_an_agent_that_is_lost_already():
    async with session_of() as (session, agent):
        await agent.stream.close()
        await until(session._running.done)
        await session.part("enough")

        assert session.lost


async def test_parting_does_not_wait_long_for_a_silent_agent(monkeypatch):
    monkeypatch.setattr(session_module, "GOODBYE_SECONDS", 0.05)
    async with session_of() as (session, _):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await session.part("enough")
        assert session._running.done()


async def test_parting_waits_while_the_last_ledger_is_behind_what_still_comes(monkeypatch):
    async with session_of() as (session, agent):
        last = [Ledger({"gaps": 1}), Ledger({"gaps": 2}), Goodbye("as you wish")]

        async def wait_until_another_comes(*_, **__):
            before = session.link.received_bytes
            await agent.send(last.pop(0))
            await until(lambda: session.link.received_bytes > before if last else session._running.done())

        clockless = SimpleNamespace(**{**vars(asyncio), "wait": wait_until_another_comes})
        monkeypatch.setattr(session_module, "asyncio", clockless)
        await session.part("enough")

        assert session.link.counts == {"gaps": 2}
        assert not session.lost


async def test_parting_does_not_wait_for_ever_for_an_agent_that_goes_on(monkeypatch):
    monkeypatch.setattr(session_module, "LONGEST_GOODBYE_SECONDS", 0.01)
    monkeypatch.setattr(session_module, "GOODBYE_SECONDS", 0.0)
    async with session_of() as (session, agent):
        parting = asyncio.create_task(session.part("enough"))
        while not parting.done():
            await agent.send(Ledger({"gaps": 1}))
            await asyncio.sleep(0)

        assert session.lost


async def test_an_agent_that_does_not_answer_the_goodbye_was_lost(monkeypatch):
    """What it had not sent, and its last ledger, are missing, so that this must not pass for a clean end."""
    monkeypatch.setattr(session_module, "GOODBYE_SECONDS", 0.05)
    async with session_of() as (session, _):
        await session.part("enough")

        assert session.lost
