"""Dialogues of which the agent leaves out what was not selected, or cannot be redacted safely."""

from podmirror.forwarding import Outcome
from podmirror_wire.values import Direction
from tests.layer.dialogue import BEGIN, DISMISS, FINISH, HALF_CLOSE, RESET, Dialogue
from tests.layer.frames import HEAD, OTHER_HEAD

TO_RESPONDER = Direction.TO_RESPONDER
POST = b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 100\r\n\r\n"


def screened(**options):
    return Dialogue(screened=True, **options)


def test_exchanges_that_were_not_selected_leave_no_trace():
    dialogue = screened()

    assert dialogue.omits(70, TO_RESPONDER) == []
    assert dialogue.omits() == []
    assert dialogue.says(HEAD) == [BEGIN, HEAD]
    assert dialogue.omits(30, TO_RESPONDER) == []
    assert dialogue.omits() == []
    assert dialogue.says(OTHER_HEAD[:5]) == [OTHER_HEAD[:5]]
    assert dialogue.says(OTHER_HEAD[5:]) == [OTHER_HEAD[5:]]
    assert dialogue.ends() == [HALF_CLOSE]
    assert dialogue.closes() == [FINISH]

    assert dialogue.outcome is Outcome.WHOLE
    assert dialogue.forwarding.left_out == 100
    assert dialogue.forwarding.missing == 0
    assert dialogue.forwarding.written == len(HEAD + OTHER_HEAD)


def test_a_connection_of_which_nothing_was_selected_is_not_begun():
    dialogue = screened()

    assert dialogue.omits(70, TO_RESPONDER) == []
    assert dialogue.omits() == []
    assert dialogue.ends() == [DISMISS]
    assert dialogue.closes() == []

    assert dialogue.outcome is Outcome.FILTERED
    assert dialogue.forwarding.left_out == 70


def test_a_late_join_begins_with_the_first_exchange_that_was_selected():
    dialogue = screened(late=True)

    assert dialogue.omits(70, TO_RESPONDER) == []
    assert dialogue.says(HEAD) == [BEGIN, HEAD]
    assert dialogue.closes() == [FINISH]

    assert dialogue.outcome is Outcome.JOINED
    assert (dialogue.forwarding.left_out, dialogue.forwarding.skipped) == (70, 0)


def test_part_of_a_request_that_was_left_out_spoils_the_local_connection_alone():
    dialogue = screened()

    assert dialogue.says(POST) == [BEGIN, POST]
    assert dialogue.omits(100, TO_RESPONDER) == [RESET]
    assert dialogue.omits() == []
    assert dialogue.says(HEAD) == [BEGIN, HEAD]
    assert dialogue.ends() == [HALF_CLOSE]
    assert dialogue.closes() == [FINISH]

    assert dialogue.outcome is Outcome.WITHHELD
    assert (dialogue.forwarding.left_out, dialogue.forwarding.missing) == (100, 0)


def test_a_gap_is_one_all_the_same():
    dialogue = screened()

    assert dialogue.says(HEAD) == [BEGIN, HEAD]
    assert dialogue.misses(50) == [RESET, DISMISS]
    assert dialogue.closes() == []
    assert dialogue.outcome is Outcome.GAP
