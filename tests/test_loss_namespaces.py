"""An agent that cannot keep up: what it lost is named, at the right place and in the right length, and nothing is spliced."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from podmirror_wire.frames import Data, Gap
from podmirror_wire.values import CloseReason, Direction, Endpoint
from tests.namespaces import TARGET_V4, TARGET_V6, Namespaces, namespaces, why_not
from tests.transfers import (
    Mirrored,
    Sent,
    Told,
    connect,
    mirrored,
    read_to_end,
    send_paced,
    serving,
    transfer,
)

pytestmark = [
    pytest.mark.namespaces,
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.timeout(90),
]

CONNECTIONS = 8
BODY_BYTES = 24 << 20
SMALL_RING = ("--ring", "1")


@pytest.fixture
def made() -> Iterator[Namespaces]:
    with namespaces() as pair:
        yield pair


class Flood:
    """Connections that are open before the load begins, and end when it is over, so that everything between is known."""

    def __init__(self, made: Namespaces, address: str) -> None:
        self.sent = [Sent.planned(seed, BODY_BYTES) for seed in range(CONNECTIONS)]
        self._opened = [connect(made, address) for _ in self.sent]
        for sent, connection in zip(self.sent, self._opened, strict=True):
            sent.end = Endpoint(*connection.getsockname()[:2])
            connection.sendall(sent.body[:16])

    async def pour(self) -> None:
        """Send all but the last byte of each, as fast as it goes."""
        async with asyncio.TaskGroup() as group:
            for sent, connection in zip(self.sent, self._opened, strict=True):
                group.create_task(asyncio.to_thread(send_paced, connection, sent.body[16:-1], None))

    async def end(self) -> None:
        for sent, connection in zip(self.sent, self._opened, strict=True):
            connection.sendall(sent.body[-1:])
            connection.shutdown(socket.SHUT_WR)
        async with asyncio.TaskGroup() as group:
            reading = [group.create_task(asyncio.to_thread(read_to_end, each)) for each in self._opened]
        for sent, task in zip(self.sent, reading, strict=True):
            sent.received = task.result()

    def close(self) -> None:
        for each in self._opened:
            each.close()


async def until_told(agent: Mirrored) -> list[Told]:
    """Give the connections that were told to their end: a busy machine may drop every packet of one's end."""
    with contextlib.suppress(TimeoutError):
        await agent.watch.until_closed(CONNECTIONS, 3)
    return [told for told in agent.watch.told.values() if told.closed is not None]


async def flood(made: Namespaces, address: str) -> tuple[Mirrored, list[Sent], list[Told]]:
    with serving(made):
        async with mirrored(made, *SMALL_RING) as agent:
            load = await asyncio.to_thread(Flood, made, address)
            try:
                await agent.watch.until(lambda: len(agent.watch.told) == CONNECTIONS)
                await load.pour()
                await agent.watch.until_quiet()
                await load.end()
            finally:
                load.close()
            closed = await until_told(agent)
            await agent.finish()
    return agent, load.sent, closed


def check_accounts(told: Told, direction: Direction, truth: bytes) -> None:
    """Every byte was delivered, or is in a named gap, or was given up with its connection.

    Where the FIN was missed, the last number that was acknowledged may be the FIN's or the last byte's: nothing tells.
    """
    assert told.closed is not None
    unsent = told.closed.unsent
    named = told.bytes_of(direction) + told.gap_bytes_of(direction)
    if told.closed.reason is not CloseReason.CUT:
        assert unsent == 0
        if told.closed.reason is CloseReason.END_MISSED and direction not in told.ended:
            assert named in {len(truth), len(truth) - 1}
        else:
            assert named == len(truth)


@pytest.mark.parametrize("address", [TARGET_V4, TARGET_V6], ids=["IPv4", "IPv6"])
async def test_every_byte_of_a_flood_is_accounted_for(made: Namespaces, address: str) -> None:
    agent, sent, closed = await flood(made, address)

    assert agent.counts["kernel_drops"] > 0, "the load was too light to show anything"
    gaps = 0
    for each in sent:
        assert each.received == each.whole_answer
        told = agent.watch.of(each)
        assert not told.opened.late
        for direction, truth in directions(each):
            told.check(direction, truth)
            if told in closed:
                check_accounts(told, direction, truth)
        gaps += sum(isinstance(frame, Gap) for stream in told.streams for frame in stream)
    assert gaps > 0
    assert closed
    if not agent.counts["cut_connections"]:
        assert agent.counts["gap_bytes"] == sum(
            told.gap_bytes_of(direction) for told in agent.watch.told.values() for direction in Direction
        )
        assert agent.counts["bytes_seen"] == sum(
            told.bytes_of(direction) for told in agent.watch.told.values() for direction in Direction
        )


async def test_every_byte_of_large_answers_is_accounted_for(made: Namespaces) -> None:
    """The drops come when the app answers, and with them may go FINs and the last acknowledgments."""
    with serving(made):
        async with mirrored(made, *SMALL_RING) as agent:
            sent = [Sent.planned(seed, 1000, answer=BODY_BYTES) for seed in range(CONNECTIONS)]
            await transfer(made, TARGET_V4, sent, rate=None)
            closed = await until_told(agent)
            await agent.finish()

    assert agent.counts["kernel_drops"] > 0, "the load was too light to show anything"
    for each in sent:
        for told in (told for told in agent.watch.told.values() if told.opened.initiator == each.end):
            if told.opened.late:
                continue
            for direction, truth in directions(each):
                told.check(direction, truth)
                if told in closed:
                    check_accounts(told, direction, truth)
    assert closed


async def test_connections_that_come_and_go_under_load_are_never_spliced(made: Namespaces) -> None:
    """Any packet may be lost, SYNs and FINs included: what is delivered is true, at an offset that is right."""
    stopped = threading.Event()

    def background() -> None:
        while not stopped.is_set():
            sent = Sent.planned(99, 8 << 20)
            with connect(made, TARGET_V4) as connection:
                send_paced(connection, sent.body, None)
                connection.shutdown(socket.SHUT_WR)
                read_to_end(connection)

    with serving(made):
        async with mirrored(made, *SMALL_RING) as agent:
            load = [asyncio.create_task(asyncio.to_thread(background)) for _ in range(2)]
            short = [Sent.planned(seed, 20_000, answer=20_000) for seed in range(200)]
            try:
                for start in range(0, len(short), 10):
                    await transfer(made, TARGET_V4, short[start : start + 10], rate=None)
            finally:
                stopped.set()
                await asyncio.gather(*load)
            await asyncio.sleep(1.5)  # a connection whose end was missed is closed by silence
            await agent.finish()

    assert agent.counts["kernel_drops"] > 0, "the load was too light to show anything"
    whole = 0
    for each in short:
        for told in (told for told in agent.watch.told.values() if told.opened.initiator == each.end):
            starts = [beginning(told, direction, truth) for direction, truth in directions(each)]
            for (direction, truth), start in zip(directions(each), starts, strict=True):
                told.check(direction, truth, start=start)
                if not told.opened.late:
                    assert start == 0
            whole += told.closed is not None and told.closed.reason is CloseReason.FINISHED
    assert whole > 0


def directions(sent: Sent) -> tuple[tuple[Direction, bytes], tuple[Direction, bytes]]:
    return (Direction.TO_RESPONDER, sent.body), (Direction.TO_INITIATOR, sent.whole_answer)


def beginning(told: Told, direction: Direction, truth: bytes) -> int:
    """Where in what was sent a stream begins, told by its first bytes."""
    for frame in told.streams[direction]:
        if isinstance(frame, Data):
            place = truth.find(frame.payload)
            assert place >= frame.offset, "bytes that were never sent, or not there"
            return place - frame.offset
    return 0
