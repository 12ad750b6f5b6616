"""Delivery to a local process that comes late or never, closes first, or is slow."""

import asyncio

import pytest

from podmirror import delivery as delivery_module
from podmirror.credit import STEP_BYTES
from podmirror.forwarding import Outcome
from podmirror.verdict import sentences
from podmirror_wire.values import Direction
from tests.layer.deadlines import until
from tests.layer.deliveries import (
    PIECE,
    Layer,
    nothing_left,  # noqa: F401  # an autouse fixture
)
from tests.layer.frames import HEAD, Talk
from tests.layer.localserver import LocalServer, listening, reserved_port


@pytest.fixture
def quick(monkeypatch):
    """Let a delivery wait for little."""
    monkeypatch.setattr(delivery_module, "CONNECT_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(delivery_module, "TROUBLE_SECONDS", 0.01)


# A local process that is not there (yet).


@pytest.mark.usefixtures("quick")
async def test_a_local_process_that_starts_late_misses_nothing():
    server = LocalServer()
    with reserved_port() as port:
        layer = Layer(port)
        layer.give(*Talk().whole(HEAD, PIECE))
        for _ in range(5):
            await asyncio.sleep(delivery_module.CONNECT_PAUSE_SECONDS)
        assert not layer.credit
        async with listening(server, port=port):
            await layer.ended()

            assert server.received == [HEAD + PIECE]
    assert layer.outcomes == [(1, Outcome.WHOLE, "")]


@pytest.mark.usefixtures("quick")
async def test_a_local_process_that_never_starts_is_told_and_counted():
    with reserved_port() as port:
        layer = Layer(port, connect_seconds=0.05)
        talk = Talk()
        layer.give(talk.opened(), talk.says(HEAD))
        await until(lambda: layer.dismissed)  # so that it holds up nothing at the agent
        layer.give(talk.omits(4, Direction.TO_RESPONDER), talk.closes())
        await layer.ended()

    (connection, _, trouble) = layer.outcomes[0]
    assert connection == 1
    assert trouble.startswith(f"nothing accepts connections on local port {port} (")
    assert layer.ledger.undelivered_bytes == len(HEAD) + 4
    assert layer.ledger.delivered_bytes == 0
    assert layer.ledger.lost == 1
    assert layer.ledger.complete == 0
    assert layer.dismissed == [1]


@pytest.mark.usefixtures("quick")
async def test_a_refusal_is_told_in_plain_words():
    with reserved_port() as port:
        layer = Layer(port, connect_seconds=0)
        layer.give(*Talk().whole(HEAD))
        await layer.ended()

    assert layer.outcomes[0][2] == f"nothing accepts connections on local port {port} (Connection refused)"


@pytest.mark.usefixtures("quick")
async def test_loss_on_a_connection_that_is_open_to_the_end_of_the_session_is_counted():
    """Nothing ever listened: that the session ends before the mirrored connection does not make it good."""
    with reserved_port() as port:
        layer = Layer(port, connect_seconds=0)
        talk = Talk()
        layer.give(talk.opened(), talk.says(HEAD))
        await until(lambda: layer.dismissed)
        await asyncio.sleep(2 * delivery_module.TROUBLE_SECONDS)
        await layer.delivery.finish(1)

    assert layer.ledger.delivered_bytes == 0
    assert layer.ledger.undelivered_bytes == len(HEAD)
    assert layer.ledger.lost == 1


# A local process that closes first.


@pytest.mark.usefixtures("quick")
async def test_a_local_process_that_resets_in_the_middle_is_told_and_counted():
    server = LocalServer()
    async with listening(server) as port:
        layer = Layer(port)
        talk = Talk()
        layer.give(talk.opened(), talk.says(HEAD))
        await until(lambda: server.received == [HEAD])
        server.visits[0].reset()
        await until(server.visits[0].writer.is_closing)
        for _ in range(3):
            await asyncio.sleep(0)
        layer.give(talk.says(b"rest of"), talk.says(b" the body"))
        await until(lambda: layer.dismissed)
        layer.give(talk.omits(10, Direction.TO_RESPONDER), talk.closes())
        await layer.ended()

    assert layer.outcomes == [
        (1, Outcome.WHOLE, "the local process closed the connection before it had read everything")
    ]
    assert layer.ledger.undelivered_bytes == 16 + 10
    assert layer.ledger.delivered_bytes == len(HEAD)
    assert layer.ledger.lost == 1
    assert layer.dismissed == [1]


@pytest.mark.usefixtures("quick")
async def test_bytes_behind_those_at_which_the_local_process_left_are_counted():
    server = LocalServer()
    server.reading.clear()
    async with listening(server, receive_buffer=4096) as port:
        layer = Layer(port)
        talk = Talk()
        layer.give(talk.opened(), talk.says(PIECE[: 128 * 1024]))
        await until(lambda: server.visits and layer.credit)
        layer.give(talk.closes())
        server.visits[0].reset()
        await layer.ended()

    assert layer.ledger.complete == 0
    assert layer.ledger.lost == 1


@pytest.mark.usefixtures("quick")
async def test_the_last_bytes_that_a_closed_local_process_does_not_take_are_counted():
    server = LocalServer(leave_after=len(HEAD))
    async with listening(server) as port:
        layer = Layer(port)
        talk = Talk()
        layer.give(talk.opened(), talk.says(HEAD))
        await until(lambda: server.visits and server.visits[0].writer.is_closing())
        layer.give(talk.says(b"rest of the body"), talk.closes())
        await layer.ended()

    assert server.received == [HEAD]
    assert layer.ledger.undelivered_bytes == 16
    assert layer.ledger.lost == 1


async def test_a_local_process_that_closes_at_the_end_harms_nothing():
    server = LocalServer(leave_after=len(HEAD), answer=b"HTTP/1.0 200 OK\r\n\r\n")
    async with listening(server) as port:
        layer = Layer(port)
        talk = Talk()
        layer.give(talk.opened(), talk.says(HEAD))
        await until(lambda: server.visits and server.visits[0].writer.is_closing())
        layer.give(talk.omits(20), talk.ends(), talk.closes())
        await layer.ended()

    assert layer.outcomes == [(1, Outcome.WHOLE, "")]
    assert layer.ledger.lost == 0


async def test_a_new_request_after_the_local_process_closed_goes_to_a_new_local_connection():
    server = LocalServer(leave_after=len(HEAD), answer=b"HTTP/1.0 200 OK\r\n\r\n")
    async with listening(server) as port:
        layer = Layer(port)
        talk = Talk()
        layer.give(talk.opened())
        for number in range(1, 4):
            layer.give(talk.says(HEAD), talk.omits(20))
            await until(lambda number=number: len(server.visits) == number)
            await until(server.visits[-1].writer.is_closing)
            await until(lambda: not [task for task in asyncio.all_tasks() if task.get_name() == "discard"])
        layer.give(talk.ends(), talk.closes())
        await layer.ended()

    assert server.received == [HEAD] * 3
    assert layer.outcomes == [(1, Outcome.WHOLE, "")]
    assert layer.ledger.delivered_bytes == 3 * len(HEAD)


# A slow local process.


async def test_a_slow_local_process_holds_up_nobody_else_and_gets_no_credit_for_what_it_does_not_take():
    slow, brisk = LocalServer(), LocalServer()
    slow.reading.clear()
    pieces = 48  # 12 MiB, more than the kernel's buffers of one connection hold
    async with listening(slow, receive_buffer=4096) as port, listening(brisk) as other_port:
        layer = Layer(port)
        layer.delivery.map_port(81, other_port)
        talk = Talk(1)
        layer.give(talk.opened(), *[talk.says(PIECE)] * pieces)
        await until(lambda: slow.visits)
        for number in range(2, 6):
            layer.give(*Talk(number, port=81).whole(PIECE, PIECE))
        await layer.ended(4)

        assert brisk.received == [2 * PIECE] * 4
        assert layer.credit[1] < pieces * len(PIECE)
        slow.reading.set()
        await until(lambda: layer.credit[1] == pieces * len(PIECE))
        layer.give(talk.ends(), talk.closes())
        await layer.ended(5)
        assert bytes(slow.visits[0].received) == pieces * PIECE


async def test_a_local_process_that_never_closes_is_left_after_a_while(monkeypatch):
    monkeypatch.setattr(delivery_module, "LINGER_SECONDS", 0.05)
    server = LocalServer()
    server.may_close.clear()
    async with listening(server) as port:
        layer = Layer(port)
        layer.give(*Talk().whole(HEAD))
        await layer.ended()

        assert server.received == [HEAD]
        assert layer.outcomes == [(1, Outcome.WHOLE, "")]


async def test_a_local_process_that_never_reads_is_waited_for_until_the_session_ends():
    """It may stop in a debugger for long."""
    server = LocalServer()
    server.reading.clear()
    async with listening(server, receive_buffer=4096) as port:
        layer = Layer(port)
        talk = Talk()
        layer.give(talk.opened())
        given = 0
        while layer.credit[1] == given:  # until some of it waits in this process
            given += STEP_BYTES
            layer.give(talk.says(PIECE[:STEP_BYTES]))
            for _ in range(20):
                await asyncio.sleep(0.001)
                if layer.credit[1] == given:
                    break
        layer.give(talk.closes())
        assert not layer.outcomes
        await layer.delivery.finish(0.05)
    assert layer.ledger.complete == 0
    assert layer.ledger.delivered_bytes < given


@pytest.mark.usefixtures("quick")
async def test_bytes_for_a_local_process_that_never_came_are_lost_when_the_session_ends():
    with reserved_port() as port:
        layer = Layer(port)
        layer.give(*Talk().whole(HEAD))
        await asyncio.sleep(5 * delivery_module.TROUBLE_SECONDS)
        await layer.delivery.finish(1)

    assert layer.ledger.lost == 1
    assert layer.ledger.undelivered_bytes == len(HEAD)
    assert "Nothing was lost." not in sentences(layer.ledger)


@pytest.mark.usefixtures("quick")
async def test_the_user_hears_once_that_nobody_accepts_connections(monkeypatch):
    monkeypatch.setattr(delivery_module, "WAITING_SECONDS", 0.02)
    heard = []
    with reserved_port() as port:
        layer = Layer(port, on_waiting=heard.append)
        layer.give(*Talk().whole(HEAD))
        await until(lambda: heard)
        await asyncio.sleep(0.05)
        await layer.delivery.finish(0)

    assert heard == [port]


async def test_a_new_request_in_pieces_goes_to_a_new_local_connection_too():
    """A head with large cookies takes more than one segment."""
    server = LocalServer(leave_after=len(HEAD), answer=b"HTTP/1.0 200 OK\r\n\r\n")
    async with listening(server) as port:
        layer = Layer(port)
        talk = Talk()
        layer.give(talk.opened(), talk.says(HEAD), talk.omits(20))
        await until(lambda: server.visits and server.visits[0].writer.is_closing())
        await until(lambda: not [task for task in asyncio.all_tasks() if task.get_name() == "discard"])
        layer.give(talk.says(HEAD[:7]), talk.says(HEAD[7:]), talk.ends(), talk.closes())
        await layer.ended()

    assert server.received == [HEAD] * 2
    assert layer.outcomes == [(1, Outcome.WHOLE, "")]
