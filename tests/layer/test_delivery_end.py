"""What becomes of deliveries at the end of the session, and of the local process."""

import asyncio

from podmirror.forwarding import Outcome
from tests.layer.deadlines import PATIENCE_SECONDS, until
from tests.layer.deliveries import (
    PIECE,
    Layer,
    nothing_left,  # noqa: F401  # an autouse fixture
)
from tests.layer.frames import HEAD, Talk
from tests.layer.localserver import LocalServer, listening, reserved_port

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
        async with asyncio.timeout(PATIENCE_SECONDS):
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
