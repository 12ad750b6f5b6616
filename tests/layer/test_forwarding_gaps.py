"""Dialogues of which something is missing: bytes in the middle, or all before a late join."""

from podmirror.forwarding import Outcome
from podmirror_wire.values import Direction
from tests.layer.dialogue import BEGIN, DISMISS, FINISH, HALF_CLOSE, RESET, TLS_HELLO, Dialogue
from tests.layer.frames import HEAD, OTHER_HEAD

# Gaps.


def test_after_a_gap_the_local_connection_is_reset_and_nothing_more_is_delivered():
    dialogue = Dialogue()

    assert dialogue.says(HEAD) == [BEGIN, HEAD]
    assert dialogue.misses(50) == [RESET, DISMISS]
    assert dialogue.says(b"behind") == [6]
    assert dialogue.omits() == []
    assert dialogue.says(HEAD) == [len(HEAD)]
    assert dialogue.ends() == []
    assert dialogue.closes() == []

    assert dialogue.outcome is Outcome.GAP
    assert dialogue.forwarding.missing == 50
    assert dialogue.forwarding.written == len(HEAD)
    assert dialogue.forwarding.passed_over == 6 + len(HEAD)


def test_rejoining_begins_anew_at_the_next_request():
    dialogue = Dialogue(on_gap="rejoin")

    assert dialogue.says(HEAD) == [BEGIN, HEAD]
    assert dialogue.misses(50) == [RESET]
    assert dialogue.says(HEAD) == []  # not the initiator's turn: it may be part of a body
    assert dialogue.omits() == [len(HEAD)]
    assert dialogue.says(OTHER_HEAD[:9]) == []
    assert dialogue.says(OTHER_HEAD[9:]) == [BEGIN, OTHER_HEAD]
    assert dialogue.says(b"end") == [b"end"]
    assert dialogue.ends() == [HALF_CLOSE]
    assert dialogue.closes() == [FINISH]

    assert dialogue.outcome is Outcome.GAP
    assert dialogue.forwarding.missing == 50
    assert dialogue.forwarding.skipped == len(HEAD)
    assert dialogue.forwarding.written == len(HEAD + OTHER_HEAD) + 3


def test_rejoining_in_vain():
    dialogue = Dialogue(on_gap="rejoin")

    assert dialogue.says(HEAD) == [BEGIN, HEAD]
    assert dialogue.misses() == [RESET]
    assert dialogue.ends() == []
    assert dialogue.closes() == []
    assert dialogue.outcome is Outcome.GAP


def test_a_second_gap_before_rejoining_resets_nothing_again():
    dialogue = Dialogue(on_gap="rejoin")

    assert dialogue.says(HEAD) == [BEGIN, HEAD]
    assert dialogue.misses(1) == [RESET]
    assert dialogue.omits() == []
    assert dialogue.says(OTHER_HEAD[:9]) == []
    assert dialogue.misses(2) == [9]
    assert dialogue.forwarding.missing == 3


def test_a_gap_before_the_first_byte_is_joined_at_the_second_request():
    dialogue = Dialogue(on_gap="rejoin")

    assert dialogue.misses(50) == []
    assert dialogue.omits() == []
    assert dialogue.says(HEAD) == [BEGIN, HEAD]
    assert dialogue.closes() == [FINISH]
    assert dialogue.outcome is Outcome.GAP


def test_a_gap_before_the_first_byte_begins_nothing():
    dialogue = Dialogue()

    assert dialogue.misses(50) == [DISMISS]
    assert dialogue.says(HEAD) == [len(HEAD)]
    assert dialogue.closes() == []
    assert dialogue.outcome is Outcome.GAP


def test_a_gap_in_the_answers_harms_nobody():
    dialogue = Dialogue()

    assert dialogue.says(HEAD) == [BEGIN, HEAD]
    assert dialogue.misses(50, Direction.TO_INITIATOR) == []
    assert dialogue.closes() == [FINISH]
    assert dialogue.outcome is Outcome.WHOLE
    assert dialogue.forwarding.missing == 0


def test_a_server_that_spoke_first_unseen_has_spoken_first():
    dialogue = Dialogue()

    assert dialogue.misses(50, Direction.TO_INITIATOR) == []
    assert dialogue.says(b"HELO me\r\n") == [9, DISMISS]
    assert dialogue.outcome is Outcome.SERVER_FIRST


def test_a_gap_after_giving_up_changes_no_outcome():
    dialogue = Dialogue()

    assert dialogue.says(TLS_HELLO) == [len(TLS_HELLO), DISMISS]
    assert dialogue.misses() == []
    assert dialogue.closes() == []
    assert dialogue.outcome is Outcome.TLS
