"""A connection outlives the interface that it began on, and so does what is told of it."""

import asyncio

import pytest

from podmirror_wire.values import CloseReason, Direction
from tests.namespaces import TARGET_V4, ip, join, namespaces, why_not
from tests.transfers import Sent, mirrored, serving, transfer

pytestmark = [
    pytest.mark.namespaces,
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.timeout(60),
]


def test_an_interface_is_removed_and_made_anew_in_the_middle_of_a_body() -> None:
    sent = Sent.planned(5, 16 << 20)

    async def run() -> None:
        with namespaces() as made, serving(made):
            async with mirrored(made) as agent:
                sending = asyncio.create_task(transfer(made, TARGET_V4, [sent], watch=agent.watch))
                await agent.watch.until(lambda: max(agent.watch.reached.values(), default=0) > 1 << 20)
                assert not sending.done()
                ip("-n", made.target.name, "link", "delete", "eth0")
                join(made)
                await sending
                await agent.watch.until_closed(1)
                told = agent.watch.of(sent)
                await agent.finish()
                told.check_whole(Direction.TO_RESPONDER, sent.body)
                assert told.closed is not None
                assert told.closed.reason is CloseReason.FINISHED
                agent.check_lossless()

    asyncio.run(run())
