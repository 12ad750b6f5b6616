"""Delivery over real loopback sockets, to a small server in the place of the local process."""

import asyncio
import gc
from collections import Counter

import pytest

from podmirror import delivery as delivery_module
from podmirror.delivery import Delivery
from podmirror.forwarding import Outcome
from podmirror.ledger import LayerLedger
from podmirror_wire.values import CloseReason
from tests.layer.deadlines import until
from tests.layer.frames import HEAD, OTHER_HEAD, POD_PORT, Talk
from tests.layer.localserver import LocalServer, listening, reserved_port

PIECE = bytes(range(256)) * 1024  # 256 KiB, the largest payload of a data frame


class Layer:
    """A delivery with what it counts, says and gives."""

    def __init__(self, local: int, **options) -> None:
        self.ledger = LayerLedger()
        self.credit: Counter[int] = Counter()
        self.outcomes: list[tuple[int, Outcome, str]] = []
        self.delivery = Delivery(self.ledger, self._give_credit, on_outcome=self._note, **options)
        self.delivery.map_port(POD_PORT, local)

    def _give_credit(self, connection: int, size: int) -> None:
        assert size > 0
        self.credit[connection] += size

    def _note(self, forwarding, trouble: str) -> None:
        self.outcomes.append((forwarding.opened.connection, forwarding.outcome, trouble))

    def give(self, *frames) -> None:
        for frame in frames:
            self.delivery.receive_frame(frame)

    async def ended(self, connections: int = 1) -> None:
        await until(lambda: len(self.outcomes) == connections)


@pytest.fixture(autouse=True)
async def _nothing_left():
    """No test leaves a task, and none of the tasks failed unseen."""
    gc.collect()  # what other tests left is not this one's
    failures = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    yield
    gc.collect()
    assert not failures
    await until(
        lambda: (
            not [task for task in asyncio.all_tasks() if task.get_name().startswith(("deliver", "discard"))]
        )
    )


@pytest.fixture
def quick(monkeypatch):
    """Let a delivery wait for little."""
    monkeypatch.setattr(delivery_module, "CONNECT_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(delivery_module, "TROUBLE_SECONDS", 0.01)


# In good order.


async def test_the_same_bytes_arrive_and_a_half_close_and_the_answer_is_taken():
    server = LocalServer(answer=b"HTTP/1.1 200 OK\r\n\r\n" + PIECE)
    async with listening(server) as port:
        layer = Layer(port)
        layer.give(*Talk().whole(HEAD, PIECE, OTHER_HEAD))
        await layer.ended()

        assert server.received == [HEAD + PIECE + OTHER_HEAD]
        assert server.visits[0].ended
        assert not server.visits[0].was_reset
    assert layer.outcomes == [(1, Outcome.WHOLE, "")]
    assert layer.credit == {1: len(HEAD + PIECE + OTHER_HEAD)}
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


async def test_what_is_not_delivered_is_paid_for_without_a_local_connection():
    server = LocalServer()
    async with listening(server) as port:
        layer = Layer(port)
        talk = Talk()
        layer.give(talk.opened(), talk.says(b"\x16\x03\x01 hello"), talk.answers(b"hello"), talk.closes())
        await layer.ended()

        assert layer.outcomes == [(1, Outcome.TLS, "")]
        assert layer.credit == {1: len(b"\x16\x03\x01 hello") + len(b"hello")}
        assert not server.visits


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
        layer.give(*Talk().whole(HEAD, b"more"))
        await layer.ended()

    (connection, _, trouble) = layer.outcomes[0]
    assert connection == 1
    assert trouble.startswith(f"nothing accepts connections on local port {port} (")
    assert layer.ledger.undelivered_bytes == len(HEAD) + 4
    assert layer.ledger.delivered_bytes == 0
    assert layer.ledger.lost == 1
    assert layer.ledger.complete == 0
    assert layer.credit == {1: len(HEAD) + 4}  # so that it holds up nothing at the agent


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
        await until(lambda: layer.credit)
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
        layer.give(talk.says(b"rest of"), talk.says(b" the body"), talk.closes())
        await layer.ended()

    assert layer.outcomes == [
        (1, Outcome.WHOLE, "the local process closed the connection before it had read everything")
    ]
    assert layer.ledger.undelivered_bytes == 16
    assert layer.ledger.delivered_bytes == len(HEAD)
    assert layer.ledger.lost == 1
    assert layer.credit == {1: len(HEAD) + 16}


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
            given += 32 * 1024
            layer.give(talk.says(PIECE[: 32 * 1024]))
            for _ in range(20):
                await asyncio.sleep(0.001)
                if layer.credit[1] == given:
                    break
        layer.give(talk.closes())
        assert not layer.outcomes
        await layer.delivery.finish(0.05)
    assert layer.ledger.complete == 0
    assert layer.ledger.delivered_bytes < given


# The end of the session.


async def test_finishing_resets_what_is_open():
    server = LocalServer()
    async with listening(server) as port:
        layer = Layer(port)
        talk = Talk()
        layer.give(talk.opened(), talk.says(HEAD))
        await until(lambda: server.received == [HEAD])
        await layer.delivery.finish(1)
        await until(lambda: server.visits[0].was_reset)

    assert layer.outcomes == [(1, Outcome.UNFINISHED, "")]
    assert layer.ledger.delivered_bytes == len(HEAD)
    assert layer.ledger.lost == 0


async def test_finishing_waits_for_those_that_ended():
    server = LocalServer(answer=b"slowly")
    server.may_close.clear()
    async with listening(server) as port:
        layer = Layer(port)
        layer.give(*Talk().whole(HEAD))
        await until(lambda: server.visits and server.visits[0].ended)
        finishing = asyncio.create_task(layer.delivery.finish(5))
        await asyncio.sleep(0)
        assert not finishing.done()
        server.may_close.set()
        await finishing

    assert layer.outcomes == [(1, Outcome.WHOLE, "")]


async def test_finishing_takes_no_longer_than_it_may():
    server = LocalServer()
    server.may_close.clear()
    async with listening(server) as port:
        layer = Layer(port)
        layer.give(*Talk().whole(HEAD))
        await until(lambda: server.visits and server.visits[0].ended)
        async with asyncio.timeout(2):
            await layer.delivery.finish(0.05)

    assert [outcome for _, outcome, _ in layer.outcomes] == [Outcome.WHOLE]


async def test_bytes_that_were_never_written_at_the_end_of_the_session_are_not_delivered():
    with reserved_port() as port:
        layer = Layer(port)
        layer.give(*Talk().whole(HEAD, b"more"))
        await layer.delivery.finish(0.05)

    assert layer.ledger.connections == 1
    assert layer.ledger.delivered_bytes == 0
    assert layer.ledger.complete == 0


async def test_finishing_with_nothing_open():
    layer = Layer(1)

    await layer.delivery.finish(1)
    assert layer.ledger.connections == 0


async def test_after_the_local_process_has_ended_nothing_that_fails_is_loss():
    server = LocalServer(leave_after=1)
    async with listening(server) as port:
        layer = Layer(port)
        talk = Talk()
        layer.give(talk.opened(), talk.says(HEAD))
        await until(lambda: server.visits and server.visits[0].writer.is_closing())
    layer.give(talk.says(PIECE), talk.says(PIECE), talk.says(PIECE))
    layer.delivery.end()
    await layer.delivery.finish(1)

    assert layer.ledger.connections == 1
    assert layer.ledger.lost == 0
    assert layer.ledger.outcomes == {Outcome.UNFINISHED: 1}
