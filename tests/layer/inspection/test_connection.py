"""The record of a connection that is not HTTP/1."""

import pytest

from podmirror.inspection.exchange import State
from podmirror_wire.values import CloseReason
from tests.layer.inspection.exchanges import summary


@pytest.mark.parametrize(
    ("late", "missing", "closed_as", "state"),
    [
        (False, 0, CloseReason.FINISHED, State.COMPLETE),
        (False, 0, CloseReason.RESET_BY_RESPONDER, State.COMPLETE),
        (True, 0, CloseReason.RESET_BY_INITIATOR, State.JOINED_LATE),
        (True, 9, CloseReason.FINISHED, State.GAP),
        (False, 0, CloseReason.IDLE, State.UNFINISHED),
        (False, 0, None, State.UNFINISHED),
    ],
)
def test_its_state_tells_how_much_was_seen(
    late: bool, missing: int, closed_as: CloseReason | None, state: State
):
    record = summary()
    record.late, record.missing, record.closed_as = late, missing, closed_as

    assert record.state is state


def test_its_time_is_that_of_the_pod():
    assert summary().seconds == 1.5
