"""A delivery with all that it tells, and a check that it leaves nothing behind."""

import asyncio
import gc
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from podmirror.delivery import Delivery
from podmirror.ledger import LayerLedger
from tests.layer.deadlines import until
from tests.layer.frames import POD_PORT

if TYPE_CHECKING:
    from podmirror.forwarding import Outcome

PIECE = bytes(range(256)) * 1024  # 256 KiB, the largest payload of a data frame


class Layer:
    """A delivery with what it counts, says and gives."""

    def __init__(self, local: int, **options) -> None:
        self.ledger = LayerLedger()
        self.credit: Counter[int] = Counter()
        self.dismissed: list[int] = []
        self.outcomes: list[tuple[int, Outcome, str]] = []
        self.delivery = Delivery(
            self.ledger,
            self._give_credit,
            dismiss=self.dismissed.append,
            on_outcome=self._note,
            **options,
        )
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
async def nothing_left():
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
