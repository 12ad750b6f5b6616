"""Delivery over real loopback sockets, to a small server in the place of the local process."""

import asyncio

import pytest

from podmirror import delivery as delivery_module
from podmirror.forwarding import Outcome
from podmirror_wire.values import CloseReason
from tests.layer.deadlines import until
from tests.layer.deliveries import (
    PIECE,
    Layer,
    nothing_left,  # noqa: F401  # an autouse fixture
)
from tests.layer.frames import HEAD, OTHER_HEAD, Talk
from tests.layer.localserver import LocalServer, listening

# In good order.


async def test_the_same_bytes_arrive_and_a_half_close_and_the_answer_is_taken():
    server = LocalServer(answer=b"HTTP/1.1 200 OK\r\n\r\n" + PIECE)
    async with listening(server) as port:
        layer = Layer(port)
        *frames, closed = Talk().whole(HEAD, PIECE, OTHER_HEAD)
        layer.give(*frames)
        await until(lambda: layer.credit)
        layer.give(closed)
        await layer.ended()

        assert server.received == [HEAD + PIECE + OTHER_HEAD]
        assert server.visits[0].ended
        assert not server.visits[0].was_reset
    assert layer.outcomes == [(1, Outcome.WHOLE, "")]
    assert layer.credit == {1: len(HEAD + PIECE)}  # in coarse steps
    assert not layer.dismissed
    assert layer.ledger.complete == 1
    assert layer.ledger.delivered_bytes == len(HEAD + PIECE + OTHER_HEAD)
    assert layer.ledger.undelivered_bytes == 0


async def test_after_a_half_close_the_local_process_can_still_answer():
    server = LocalServer(answer=b"late")
    server.may_close.clear()
    async with listening(server) as port:
        layer = Layer(port)
        talk = Talk()
        layer.give(talk.opened(), talk.says(HEAD), talk.ends())
        await until(lambda: server.visits and server.visits[0].ended)

        assert not layer.outcomes
        layer.give(talk.closes())
        server.may_close.set()
        await layer.ended()
        assert not server.visits[0].was_reset


async def test_connections_are_told_apart():
    server = LocalServer()
    async with listening(server) as port:
        layer = Layer(port)
        talks = [Talk(number) for number in range(1, 6)]
        conversations = [talk.whole(b"%d" % talk.connection, b"...") for talk in talks]
        for frames in zip(*conversations, strict=True):
            layer.give(*frames)
        await layer.ended(5)

        assert sorted(server.received) == [b"%d..." % number for number in range(1, 6)]


async def test_a_port_that_is_mapped_to_nothing_is_nobodys():
    server = LocalServer()
    async with listening(server) as port:
        layer = Layer(port)
        layer.give(*Talk(1, port=81).whole(HEAD))
        layer.give(*Talk(2).whole(HEAD))
        await layer.ended()

        assert server.received == [HEAD]
        assert layer.ledger.connections == 1


async def test_each_port_of_the_pod_goes_to_its_own_local_port():
    first, second = LocalServer(), LocalServer()
    async with listening(first) as port, listening(second) as other_port:
        layer = Layer(port)
        layer.delivery.map_port(443, other_port)
        layer.give(*Talk(1).whole(b"first"), *Talk(2, port=443).whole(b"second"))
        await layer.ended(2)

        assert (first.received, second.received) == ([b"first"], [b"second"])


async def test_a_local_process_that_listens_on_ipv6_alone():
    server = LocalServer()
    async with listening(server, "::1") as port:
        layer = Layer(port)
        layer.give(*Talk().whole(HEAD))
        await layer.ended()

        assert server.received == [HEAD]
        assert layer.outcomes == [(1, Outcome.WHOLE, "")]


async def test_a_connection_that_ended_gets_no_credit():
    server = LocalServer()
    async with listening(server) as port:
        layer = Layer(port)
        layer.give(*Talk().whole(PIECE, PIECE))
        await layer.ended()

        assert server.received == [PIECE + PIECE]
        assert not layer.credit


async def test_what_is_not_delivered_is_dismissed_and_paid_for_without_a_local_connection():
    server = LocalServer()
    async with listening(server) as port:
        layer = Layer(port)
        talk = Talk()
        layer.give(talk.opened(), talk.says(b"\x16\x03\x01 hello"))
        assert layer.dismissed == [1]
        layer.give(talk.says(PIECE))  # on its way already
        await until(lambda: layer.credit)
        layer.give(talk.closes())
        await layer.ended()

        assert layer.outcomes == [(1, Outcome.TLS, "")]
        assert layer.credit == {1: len(b"\x16\x03\x01 hello") + len(PIECE)}
        assert layer.dismissed == [1]
        assert not server.visits


@pytest.mark.parametrize(
    ("late_joins", "received"),
    [("skip", []), ("http", [HEAD]), ("raw", [b"the midst of a body" + HEAD])],
)
async def test_late_joins_are_skipped_joined_at_a_request_or_taken_as_they_are(late_joins, received):
    server = LocalServer()
    async with listening(server) as port:
        layer = Layer(port, late_joins=late_joins)
        talk = Talk(late=True)
        layer.give(
            talk.opened(), talk.says(b"the midst of a body"), talk.omits(9), talk.says(HEAD), talk.closes()
        )
        await layer.ended()

        assert server.received == received
    assert layer.dismissed == ([1] if late_joins == "skip" else [])


# Resets.


async def test_a_reset_is_passed_on_behind_all_bytes():
    server = LocalServer()
    async with listening(server) as port:
        layer = Layer(port)
        talk = Talk()
        layer.give(
            talk.opened(), talk.says(HEAD), talk.says(PIECE), talk.closes(CloseReason.RESET_BY_INITIATOR)
        )
        await until(lambda: server.visits and server.visits[0].was_reset)
        await layer.ended()

        assert server.received == [HEAD + PIECE]
        assert not server.visits[0].ended
        assert layer.ledger.complete == 1


async def test_a_reset_waits_for_a_slow_local_process():
    server = LocalServer()
    server.reading.clear()
    async with listening(server, receive_buffer=4096) as port:
        layer = Layer(port)
        talk = Talk()
        payloads = [HEAD, *[PIECE] * 8]
        layer.give(talk.opened(), *map(talk.says, payloads), talk.closes(CloseReason.RESET_BY_RESPONDER))
        await until(lambda: server.visits)
        server.reading.set()
        await until(lambda: server.visits[0].was_reset)
        await layer.ended()

        assert server.received == [b"".join(payloads)]


async def test_a_gap_resets_and_a_request_after_it_is_delivered_anew():
    server = LocalServer()
    async with listening(server) as port:
        layer = Layer(port, on_gap="rejoin")
        talk = Talk()
        layer.give(talk.opened(), talk.says(HEAD), talk.misses(100), talk.says(b"rest"), talk.omits(10))
        await until(lambda: server.visits and server.visits[0].was_reset)
        layer.give(talk.says(OTHER_HEAD), talk.says(b"one"), talk.closes())
        await layer.ended()

        assert server.received == [HEAD, OTHER_HEAD + b"one"]
        assert server.visits[1].ended
    assert layer.outcomes == [(1, Outcome.GAP, "")]
    assert layer.ledger.lost == 1
    assert layer.ledger.missing_bytes == 100
    assert layer.ledger.skipped_bytes == 4


async def test_a_reset_that_a_local_process_does_not_read_up_to_comes_in_the_end(monkeypatch):
    monkeypatch.setattr(delivery_module, "DRAIN_SECONDS", 0.05)
    server = LocalServer()
    server.reading.clear()
    async with listening(server, receive_buffer=4096) as port:
        layer = Layer(port)
        talk = Talk()
        layer.give(talk.opened(), talk.says(PIECE[: 128 * 1024]), talk.closes(CloseReason.RESET_BY_INITIATOR))
        await layer.ended()

    assert layer.ledger.complete == 0
    assert layer.ledger.undelivered_bytes > 0


async def test_a_local_process_that_resets_while_its_own_reset_waits():
    """Nothing must fail when the socket goes away under the wait for its queue to drain."""
    server = LocalServer()
    server.reading.clear()
    async with listening(server, receive_buffer=4096) as port:
        layer = Layer(port)
        talk = Talk()
        layer.give(talk.opened(), talk.says(PIECE[: 128 * 1024]))
        await until(lambda: server.visits and layer.credit)
        layer.give(talk.closes(CloseReason.RESET_BY_INITIATOR))
        for _ in range(5):
            await asyncio.sleep(0)  # the wait has begun
        assert not layer.outcomes
        server.visits[0].reset()
        await layer.ended()
