"""What is done about a tunnel that was lost, and what is said."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from podmirror import reopening as reopening_module
from podmirror.errors import AgentLost, NobodyListens, NotStarted, TunnelLost
from podmirror.progress import Progress
from podmirror.reopening import Reopening
from podmirror.session import Session
from podmirror_wire.frames import AnyFrame, Ledger, Refused, Resume, Resumed
from tests.layer.agents import PATIENCE_SECONDS, SECRET, MemoryStream, ScriptedAgent, linked, stream_pair
from tests.layer.deadlines import until

CLOSED = "the connection to the agent was closed without a goodbye"


class Ways:
    """The ways back to an agent: each try finds a stream, or the error that is in its place."""

    def __init__(self, *tries: MemoryStream | Exception) -> None:
        self.tries = list(tries)
        self.tried = 0
        self.ended = False

    async def open(self) -> MemoryStream:
        self.tried += 1
        found = self.tries.pop(0) if self.tries else NotStarted("the API server cannot be reached")
        if isinstance(found, Exception):
            raise found
        return found

    async def has_ended(self) -> bool:
        return self.ended


async def nothing_known() -> str:
    return ""


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(reopening_module, "FIRST_PAUSE_SECONDS", 0.001)


@asynccontextmanager
async def session_by(ways: Ways, ttl: float = 30.0) -> AsyncIterator[tuple[Session, ScriptedAgent]]:
    async with linked() as (link, agent):
        reopening = Reopening(ways.open, ways.has_ended, SECRET, ttl=ttl, progress=Progress("plain"))
        session = Session(link, nothing_known, reopening)
        try:
            yield session, agent
        finally:
            session._running.cancel()
            await asyncio.gather(session._running, return_exceptions=True)
            await reopening.stop()


async def answer(far: MemoryStream, *answers: AnyFrame) -> ScriptedAgent:
    agent = ScriptedAgent(far)
    await agent.accept()
    await agent.expect(Resume)
    await agent.send(*answers)
    return agent


async def spoken(capsys, text: str) -> list[str]:
    """Wait for a text, and give the lines until then, with `N` for how long something took."""
    whole = ""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while text not in whole:
            whole += capsys.readouterr().err
            await asyncio.sleep(0.001)
    return [
        re.sub(r"after \d+\.\d s", "after N s", line.removeprefix("podmirror: "))
        for line in whole.splitlines()
    ]


async def test_a_session_is_not_connected_while_its_tunnel_is_opened_again(capsys):
    near, far = stream_pair()
    ways = Ways(*[NotStarted("the API server cannot be reached")] * 3, near)
    async with session_by(ways) as (session, agent):
        assert session.connected
        await agent.stream.close()
        await until(lambda: ways.tried > 1)
        assert not session.connected
        assert not session.lost

        await answer(far, Resumed(0), Ledger({"gaps": 0}))
        await spoken(capsys, "resumed after")
        assert session.connected


async def test_what_happened_is_told_in_two_lines(capsys):
    near, far = stream_pair()
    ways = Ways(NotStarted("refused"), TunnelLost("broken"), near)
    async with session_by(ways) as (_, agent):
        await agent.stream.close()
        await answer(far, Resumed(0), Ledger({"gaps": 0}))

        assert await spoken(capsys, "resumed") == [
            f"the tunnel was lost ({CLOSED}); trying again",
            "resumed after N s, nothing was missed",
        ]
        assert ways.tried == 3


async def test_what_was_missed_is_named(capsys):
    near, far = stream_pair()
    async with session_by(Ways(near)) as (session, agent):
        await agent.send(Ledger({"cut_connections": 1, "kernel_drops": 5}))
        await until(lambda: session.link.counts)
        await agent.stream.close()
        await answer(far, Resumed(0), Ledger({"cut_connections": 3, "kernel_drops": 5, "gaps": 1}))

        assert (await spoken(capsys, "resumed"))[-1] == (
            "resumed after N s, 2 connections given up, because the agent's buffers were full; "
            "1 gap in what was captured"
        )


async def test_an_agent_that_says_nothing_of_it(capsys, monkeypatch):
    monkeypatch.setattr(reopening_module, "LEDGER_SECONDS", 0.01)
    near, far = stream_pair()
    async with session_by(Ways(near)) as (_, agent):
        await agent.stream.close()
        await answer(far, Resumed(0))

        assert (await spoken(capsys, "resumed"))[-1] == "resumed after N s"


async def test_a_session_that_began_anew_is_told_as_such(capsys):
    near, far = stream_pair()
    async with session_by(Ways(near)) as (session, agent):
        await agent.stream.close()
        await answer(far, Refused(0, "that session is over"))

        lines = await spoken(capsys, "began anew")
        assert "what passed meanwhile was missed" in lines[-1]
        assert not session.lost
        assert session.link.restarts == 1


async def test_a_port_that_nobody_listens_on_is_the_end():
    ways = Ways(NobodyListens("port-forward: connection refused"))
    async with session_by(ways) as (session, agent):
        await agent.stream.close()
        with pytest.raises(AgentLost, match="nothing listens on the agent's port any more"):
            await session.wait()

        assert ways.tried == 1


async def test_an_agent_that_is_known_to_have_ended_is_not_tried_again():
    ways = Ways()
    ways.ended = True
    async with session_by(ways) as (session, agent):
        await agent.stream.close()
        with pytest.raises(AgentLost, match=f"^{CLOSED}$"):
            await session.wait()

        assert ways.tried == 1


async def test_it_is_tried_for_as_long_as_the_agent_waits(clock):
    clock.step = 0.001
    ways = Ways()
    async with session_by(ways, ttl=0.05) as (session, agent):
        await agent.stream.close()
        waiting = asyncio.create_task(session.wait())
        await clock.until_done(waiting)
        with pytest.raises(AgentLost) as lost:
            await waiting

        assert str(lost.value) == (
            f"{CLOSED}; it could not be opened again within the 0.05 s that the agent waits: "
            "the API server cannot be reached"
        )
        assert ways.tried > 2


async def test_a_way_that_leads_nowhere_is_left(monkeypatch):
    monkeypatch.setattr(reopening_module, "ATTEMPT_SECONDS", 0.02)
    silent, _ = stream_pair()
    near, far = stream_pair()
    ways = Ways(silent, near)

    async def open_with_patience() -> MemoryStream:
        if ways.tried:  # the way that leads to the agent may take its time
            monkeypatch.setattr(reopening_module, "ATTEMPT_SECONDS", PATIENCE_SECONDS)
        return await Ways.open(ways)

    ways.open = open_with_patience
    async with session_by(ways) as (session, agent):
        await agent.stream.close()
        await until(lambda: silent.closed)
        await answer(far, Resumed(0), Ledger({"gaps": 4}))
        await until(lambda: session.link.counts == {"gaps": 4})


async def test_a_tunnel_may_be_lost_more_than_once():
    pairs = [stream_pair() for _ in range(3)]
    async with session_by(Ways(*(near for near, _ in pairs))) as (session, agent):
        agents = [agent]
        for _, far in pairs:
            await agents[-1].stream.close()
            agents.append(await answer(far, Resumed(0)))
        await agents[-1].send(Ledger({"gaps": 1}))
        await until(lambda: session.link.counts == {"gaps": 1})
        assert all(near.closed for near, _ in pairs[:-1])


async def test_parting_while_the_tunnel_is_lost_does_not_wait_for_it(monkeypatch):
    monkeypatch.setattr("podmirror.session.GOODBYE_SECONDS", 0.05)
    async with session_by(Ways()) as (session, agent):
        await agent.stream.close()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await session.part("enough")

        assert session.lost
