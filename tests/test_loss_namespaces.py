"""An agent that cannot keep up: what it lost is named, at the right place and in the right length, and nothing is spliced."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial

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
    send_all,
    serving,
    transfer,
)

pytestmark = [
    pytest.mark.namespaces,
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]

CONNECTIONS = 8
BODY_BYTES = 24 << 20
SMALL_RING = ("--ring", "1")
UNSEEN_BYTES = 4 << 20
"""Of each connection, that pass while the agent gets no processor: all together many times what the ring holds."""
HELD_BACK_BYTES = 512 << 10
"""Of each large answer, more than is on its way: they pass when the load is over, so that some connections are seen to end."""


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

    async def pour(self, start: int, end: int) -> None:
        """Send those bytes of each, as fast as it goes."""
        async with asyncio.TaskGroup() as group:
            for sent, connection in zip(self.sent, self._opened, strict=True):
                group.create_task(asyncio.to_thread(send_all, connection, sent.body[start:end]))

    async def end(self) -> None:
        for sent, connection in zip(self.sent, self._opened, strict=True):
            connection.sendall(sent.body[-1:])
            connection.shutdown(socket.SHUT_WR)
        for sent, received in zip(self.sent, await of_each(read_to_end, self._opened), strict=True):
            sent.received = received

    def close(self) -> None:
        for each in self._opened:
            each.close()


async def of_each(read: Callable[[socket.socket], bytes], connections: list[socket.socket]) -> list[bytes]:
    return await asyncio.gather(*(asyncio.to_thread(read, each) for each in connections))


def read(connection: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        data += connection.recv(length - len(data))
    return bytes(data)


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
                with agent.stopped():
                    await load.pour(16, UNSEEN_BYTES)
                await load.pour(UNSEEN_BYTES, -1)
                await agent.watch.until_quiet()
                await load.end()
            finally:
                load.close()
            closed = await until_told(agent)
            await agent.finish()
    return agent, load.sent, closed


def check_accounts(told: Told, direction: Direction, truth: bytes, *, all_lost_from: int) -> None:
    """Every byte was delivered, or is in a named gap, or was given up with its connection.

    Where the FIN was missed, the last number that was acknowledged may be the FIN's or the last byte's: nothing tells. And
    nothing tells of what passed behind the last packet that was seen, which is not before `all_lost_from`.
    """
    assert told.closed is not None
    unsent = told.closed.unsent
    named = told.bytes_of(direction) + told.gap_bytes_of(direction)
    if told.closed.reason is not CloseReason.CUT:
        assert unsent == 0
        if told.closed.reason is CloseReason.END_MISSED and direction not in told.ended:
            assert all_lost_from <= named <= len(truth)
        else:
            assert named == len(truth)


@pytest.mark.parametrize("address", [TARGET_V4, TARGET_V6], ids=["IPv4", "IPv6"])
async def test_every_byte_of_a_flood_is_accounted_for(made: Namespaces, address: str) -> None:
    agent, sent, closed = await flood(made, address)

    assert agent.counts["kernel_drops"] > 0
    gaps = 0
    for each in sent:
        assert each.received == each.whole_answer
        told = agent.watch.of(each)
        assert not told.opened.late
        for direction, truth in directions(each):
            told.check(direction, truth)
            if told in closed:
                check_accounts(told, direction, truth, all_lost_from=len(truth) - 1)
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
    """The drops come when the app answers, and with them may go the initiator's FIN and many acknowledgments."""
    with serving(made):
        async with mirrored(made, *SMALL_RING) as agent:
            sent = [Sent.planned(seed, 1000, answer=BODY_BYTES) for seed in range(CONNECTIONS)]
            with contextlib.ExitStack() as stack:
                opened = [stack.enter_context(connect(made, TARGET_V4)) for _ in sent]
                for each, connection in zip(sent, opened, strict=True):
                    each.end = Endpoint(*connection.getsockname()[:2])
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, HELD_BACK_BYTES // 4)
                    connection.sendall(each.body)
                await agent.watch.until(lambda: len(agent.watch.reached) == CONNECTIONS)
                with agent.stopped():
                    for connection in opened:  # which lets the app answer
                        connection.shutdown(socket.SHUT_WR)
                    parts = [await of_each(partial(read, length=UNSEEN_BYTES), opened)]
                rest = BODY_BYTES - UNSEEN_BYTES - HELD_BACK_BYTES
                parts.append(await of_each(partial(read, length=rest), opened))
                await agent.watch.until_quiet()
                parts.append([await asyncio.to_thread(read_to_end, each) for each in opened])
            for each, received in zip(sent, zip(*parts, strict=True), strict=True):
                each.received = b"".join(received)
                assert each.received == each.whole_answer
            closed = await until_told(agent)
            await agent.finish()

    assert agent.counts["kernel_drops"] > 0
    for each in sent:
        for told in (told for told in agent.watch.told.values() if told.opened.initiator == each.end):
            if told.opened.late:
                continue
            for direction, truth in directions(each):
                told.check(direction, truth)
                if told in closed:
                    check_accounts(told, direction, truth, all_lost_from=0)
    assert closed


async def test_connections_that_come_and_go_under_load_are_never_spliced(made: Namespaces) -> None:
    """Any packet may be lost, SYNs and FINs included: what is delivered is true, at an offset that is right."""
    stopped = threading.Event()

    def once() -> None:
        with connect(made, TARGET_V4) as connection:
            send_all(connection, Sent.planned(99, 8 << 20).body)
            connection.shutdown(socket.SHUT_WR)
            read_to_end(connection)

    def background() -> None:
        while not stopped.is_set():
            once()

    with serving(made):
        async with mirrored(made, *SMALL_RING) as agent:
            with agent.stopped():
                await asyncio.to_thread(once)
            load = [asyncio.create_task(asyncio.to_thread(background)) for _ in range(2)]
            short = [Sent.planned(seed, 20_000, answer=20_000) for seed in range(200)]
            try:
                for start in range(0, 180, 10):
                    await transfer(made, TARGET_V4, short[start : start + 10])
            finally:
                stopped.set()
                await asyncio.gather(*load)
            await agent.watch.until_quiet()
            for each in short[180:]:
                await transfer(made, TARGET_V4, [each])
            await asyncio.sleep(1.5)  # a connection whose end was missed is closed by silence
            await agent.finish()

    assert agent.counts["kernel_drops"] > 0
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
