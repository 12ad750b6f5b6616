"""A link against a scripted agent, over a stream in memory."""

import asyncio
import time

import pytest

from podmirror import link as link_module
from podmirror.errors import AgentLost, NotStarted, TunnelLost
from podmirror.link import Link
from podmirror_wire.errors import MalformedFrame, ProtocolError
from podmirror_wire.frames import (
    MAGIC,
    PROTOCOL_VERSION,
    Credit,
    Dismiss,
    Examine,
    Findings,
    Goodbye,
    Greeting,
    Ledger,
    Options,
    Ping,
    Pong,
    Refused,
    Subscribe,
    Subscribed,
)
from podmirror_wire.version import __version__
from tests.layer.agents import PATIENCE_SECONDS, linked, part
from tests.layer.deadlines import until
from tests.layer.frames import Talk

GREETING = Greeting(MAGIC, PROTOCOL_VERSION, __version__)


@pytest.fixture(autouse=True)
def _patience():
    """Silence is no subject of most tests here, so it would be a failure."""
    assert link_module.SILENCE_SECONDS > PATIENCE_SECONDS


# The conversation.


async def test_a_subscription_is_acknowledged():
    async with linked() as (link, agent):
        running = asyncio.create_task(link.run())
        subscribing = asyncio.create_task(link.subscribe(80))
        request = await agent.expect(Subscribe)
        assert request.port == 80
        assert not subscribing.done()

        await agent.send(Subscribed(request.request, 42))
        assert await subscribing == Subscribed(request.request, 42)
        await part(link, agent, running)


async def test_subscriptions_are_answered_in_any_order():
    async with linked() as (link, agent):
        running = asyncio.create_task(link.run())
        first, second = (asyncio.create_task(link.subscribe(port)) for port in (80, 81))
        requests = [await agent.expect(Subscribe), await agent.expect(Subscribe)]
        assert [request.port for request in requests] == [80, 81]
        assert requests[0].request != requests[1].request

        await agent.send(Refused(requests[1].request, "no more ports"), Subscribed(requests[0].request, 1))
        assert (await first).request == requests[0].request
        with pytest.raises(NotStarted, match="the agent refused: no more ports"):
            await second
        await part(link, agent, running)


async def test_an_answer_that_nobody_waits_for_any_more():
    async with linked() as (link, agent):
        running = asyncio.create_task(link.run())
        subscribing = asyncio.create_task(link.subscribe(80))
        request = await agent.expect(Subscribe)
        subscribing.cancel()
        await asyncio.gather(subscribing, return_exceptions=True)

        await agent.send(Subscribed(request.request, 1), Refused(request.request, "changed my mind"))
        await part(link, agent, running)


async def test_options_go_before_the_subscription():
    async with linked() as (link, agent):
        link.send_options({"idle": "10"})
        running = asyncio.create_task(link.run())
        subscribing = asyncio.create_task(link.subscribe(80))

        assert await agent.expect(Options) == Options({"idle": "10"})
        await agent.send(Subscribed((await agent.expect(Subscribe)).request, 1))
        await subscribing
        await part(link, agent, running)


async def test_credit_and_dismissals_are_sent():
    async with linked() as (link, agent):
        running = asyncio.create_task(link.run())
        link.give_credit(7, 1000)
        link.give_credit(8, 1)
        link.dismiss(7)

        assert [await agent.expect(Credit), await agent.expect(Credit)] == [Credit(7, 1000), Credit(8, 1)]
        assert await agent.expect(Dismiss) == Dismiss(7)
        await part(link, agent, running)


async def test_every_frame_of_a_connection_goes_to_the_receiver_in_order():
    talk = Talk()
    frames = [
        talk.opened(),
        talk.says(b"one"),
        talk.answers(b"two"),
        talk.omits(3),
        talk.misses(4),
        talk.ends(),
        talk.closes(),
    ]
    received = []
    async with linked(receiver=received.append) as (link, agent):
        running = asyncio.create_task(link.run())
        encoded = b"".join(frame.encode() for frame in frames)
        for at in range(0, len(encoded), 11):
            await agent.stream.send(encoded[at : at + 11])
        await part(link, agent, running)

    assert received == frames


async def test_a_ping_is_answered_with_its_time_and_what_was_received():
    async with linked() as (link, agent):
        running = asyncio.create_task(link.run())
        before = time.time_ns()
        await agent.send(Ping(123, 0))

        pong = await agent.expect(Pong)
        assert pong.ping_time == 123
        assert before <= pong.time <= time.time_ns()
        assert pong.received == len(Ping(123, 0).encode())
        await part(link, agent, running)


async def test_the_clock_offset_is_what_a_pong_shows():
    async with linked() as (link, agent):
        assert link.clock_offset is None
        running = asyncio.create_task(link.run())
        ping = await agent.expect(Ping)
        before = ping.time
        await agent.send(Pong(ping.time, ping.time + 3_600_000_000_000, 0))
        await until(lambda: link.clock_offset is not None)

        elapsed = (time.time_ns() - before) / 1e9
        assert 3600 - elapsed / 2 - 0.001 <= link.clock_offset <= 3600.001
        await part(link, agent, running)


async def test_the_clock_is_read_when_asked():
    async with linked() as (link, agent):
        running = asyncio.create_task(link.run())
        await agent.expect(Ping)
        reading = asyncio.create_task(link.read_clock())
        ping = await agent.expect(Ping)
        await agent.send(Pong(ping.time, ping.time + 3_600_000_000_000, 0))

        found = await reading
        assert 0 < found.uncertainty < PATIENCE_SECONDS
        assert 3600 - 2 * found.uncertainty <= found.offset <= 3600
        await part(link, agent, running)


async def test_an_agent_is_examined():
    async with linked() as (link, agent):
        running = asyncio.create_task(link.run())
        for request in (1, 2):
            examining = asyncio.create_task(link.examine())
            assert await agent.expect(Examine) == Examine(request)
            await agent.send(Findings(request, {"cpu_ns": str(request)}))

            assert await examining == {"cpu_ns": str(request)}
        assert link.received_bytes > 0
        assert link.sent_bytes > 0
        await part(link, agent, running)


async def test_pings_go_on(monkeypatch):
    monkeypatch.setattr(link_module, "PING_SECONDS", 0.01)
    async with linked() as (link, agent):
        running = asyncio.create_task(link.run())
        first, second = await agent.expect(Ping), await agent.expect(Ping)
        assert second.time > first.time
        await part(link, agent, running)


async def test_the_last_ledger_counts():
    async with linked() as (link, agent):
        running = asyncio.create_task(link.run())
        await agent.send(Ledger({"kernel_drops": 1}))
        await until(lambda: link.counts == {"kernel_drops": 1})
        link.say_goodbye("enough")
        goodbye = await agent.part(Ledger({"kernel_drops": 2, "gaps": 1}))

        assert goodbye == Goodbye("enough")
        assert await running == "as you wish"
        assert link.counts == {"kernel_drops": 2, "gaps": 1}


# How it ends badly.


async def lost(link: Link, words: str) -> AgentLost:
    with pytest.raises(AgentLost, match=words) as error:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await link.run()
    return error.value


async def test_silence_is_loss(monkeypatch):
    monkeypatch.setattr(link_module, "SILENCE_SECONDS", 0.05)
    async with linked() as (link, _):
        await lost(link, r"nothing was heard from the agent for 0\.05 s")


async def test_a_word_now_and_then_is_no_silence(monkeypatch, clock):
    monkeypatch.setattr(link_module, "SILENCE_SECONDS", 0.3)
    monkeypatch.setattr(link_module, "PING_SECONDS", 0.05)
    async with linked() as (link, agent):
        running = asyncio.create_task(link.run())

        async def answer() -> None:
            while True:
                ping = await agent.expect(Ping)
                await agent.send(Pong(ping.time, ping.time, 0))

        answering = asyncio.create_task(answer())
        await clock.wind(0.5)
        answering.cancel()
        assert not running.done()
        await part(link, agent, running)


async def test_an_agent_that_ends_unasked_is_lost_with_its_reason():
    async with linked() as (link, agent):
        await agent.send(Goodbye("its node is going down"))
        await lost(link, "the agent ended: its node is going down")


async def test_a_stream_that_ends_is_loss():
    async with linked() as (link, agent):
        await agent.stream.close()
        await lost(link, "closed without a goodbye")


async def test_a_stream_that_ends_after_our_goodbye_is_loss_all_the_same():
    async with linked() as (link, agent):
        link.say_goodbye("enough")
        await agent.stream.close()
        await lost(link, "closed without a goodbye")


async def test_a_stream_that_breaks_while_reading_says_why():
    async with linked() as (link, agent):
        agent.stream.peer.break_off("the tunnel broke")
        await lost(link, "the tunnel broke")


async def test_a_stream_that_breaks_while_writing_says_why():
    async with linked() as (link, agent):
        agent.stream.peer.send_error = AgentLost("the tunnel broke")
        await lost(link, "the tunnel broke")


@pytest.mark.parametrize(
    "breach",
    [
        Subscribe(1, 80),  # the layer's part
        Subscribed(99, 1),  # never asked
        GREETING,  # said already
    ],
)
async def test_a_frame_out_of_turn_is_loss(breach):
    async with linked() as (link, agent):
        await agent.send(breach)
        error = await lost(link, f"the agent broke the protocol: {type(breach).__name__}")
        assert isinstance(error.__cause__, ProtocolError)


async def test_bytes_that_are_no_frame_are_loss():
    async with linked() as (link, agent):
        await agent.stream.send(bytes(100))
        error = await lost(link, "the agent broke the protocol")
        assert isinstance(error.__cause__, MalformedFrame)


async def test_kinds_that_are_not_known_are_skipped():
    async with linked() as (link, agent):
        running = asyncio.create_task(link.run())
        await agent.stream.send(b"\x00\x00\x00\x03\xfehi" + Ledger({"a": 1}).encode())
        await until(lambda: link.counts == {"a": 1})
        await part(link, agent, running)


async def test_a_refusal_of_the_session_ends_it():
    async with linked() as (link, agent):
        await agent.send(Refused(0, "option 'colour' is not known"))
        await lost(link, "the agent refused to go on: option 'colour' is not known")


async def test_cancelling_leaves_no_task():
    async with linked() as (link, _):
        running = asyncio.create_task(link.run())
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

        assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("ticks", range(8))
async def test_a_cancellation_is_heard_though_the_stream_breaks_just_then(ticks):
    """It is how a session ends, which would otherwise wait until another tunnel is open."""
    async with linked() as (link, agent):
        running = asyncio.create_task(link.run())
        await agent.expect(Ping)
        link.stream.break_off("gone")
        for _ in range(ticks):
            await asyncio.sleep(0)
        heard = running.cancel()  # unless it has ended

        (outcome,) = await asyncio.gather(running, return_exceptions=True)
        assert isinstance(outcome, asyncio.CancelledError if heard else TunnelLost)
