"""Dialogues of which something is missing: bytes in the middle, or all before a late join."""

import pytest

from podmirror.forwarding import Outcome
from podmirror_wire.values import CloseReason, Direction
from tests.layer.dialogue import BEGIN, FINISH, HALF_CLOSE, RESET, TLS_HELLO, Dialogue
from tests.layer.frames import HEAD, OTHER_HEAD

# Gaps.


def test_after_a_gap_the_local_connection_is_reset_and_nothing_more_is_delivered():
    dialogue = Dialogue()

    assert dialogue.says(HEAD) == [BEGIN, HEAD]
    assert dialogue.misses(50) == [RESET]
    assert dialogue.says(b"behind") == [6]
    assert dialogue.omits() == []
    assert dialogue.says(HEAD) == [len(HEAD)]
    assert dialogue.ends() == []
    assert dialogue.closes() == []

    assert dialogue.outcome is Outcome.GAP
    assert dialogue.forwarding.missing == 50
    assert dialogue.forwarding.written == len(HEAD)


def test_rejoining_begins_anew_at_the_next_request():
    dialogue = Dialogue(on_gap="rejoin")

    assert dialogue.says(HEAD) == [BEGIN, HEAD]
    assert dialogue.misses(50) == [RESET]
    assert dialogue.says(HEAD) == [len(HEAD)]  # not the initiator's turn: it may be part of a body
    assert dialogue.omits() == []
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

    assert dialogue.misses(50) == []
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
    assert dialogue.says(b"HELO me\r\n") == [9]
    assert dialogue.outcome is Outcome.SERVER_FIRST


def test_a_gap_after_giving_up_changes_no_outcome():
    dialogue = Dialogue()

    assert dialogue.says(TLS_HELLO) == [len(TLS_HELLO)]
    assert dialogue.misses() == []
    assert dialogue.closes() == []
    assert dialogue.outcome is Outcome.TLS


# Late joins.


def test_a_late_join_begins_with_a_request():
    dialogue = Dialogue(late=True)

    assert dialogue.says(HEAD) == [BEGIN, HEAD]
    assert dialogue.closes() == [FINISH]
    assert dialogue.outcome is Outcome.JOINED
    assert dialogue.forwarding.skipped == 0


def test_a_late_join_in_the_middle_waits_for_a_request():
    dialogue = Dialogue(late=True)

    assert dialogue.says(b'remainder"}') == []  # no line yet: it may be the beginning of a head
    assert dialogue.says(b"\r\n\r\n") == [15]
    assert dialogue.omits() == []
    assert dialogue.says(HEAD) == [BEGIN, HEAD]
    assert dialogue.closes(CloseReason.RESET_BY_INITIATOR) == [RESET]
    assert dialogue.outcome is Outcome.JOINED
    assert dialogue.forwarding.skipped == 15


def test_what_is_held_back_is_paid_for_with_the_next_turn():
    dialogue = Dialogue(late=True)

    assert dialogue.says(b"remainder") == []
    assert dialogue.answers(b"200 OK") == [6, 9]
    assert dialogue.says(HEAD) == [BEGIN, HEAD]


@pytest.mark.parametrize("reason", [CloseReason.FINISHED, CloseReason.RESET_BY_INITIATOR, CloseReason.IDLE])
def test_a_late_join_without_a_request_is_unjoined(reason):
    dialogue = Dialogue(late=True)

    assert dialogue.says(b"\x00binary\r\n") == [9]
    assert dialogue.ends() == []
    assert dialogue.closes(reason) == []
    assert dialogue.outcome is Outcome.UNJOINED


def test_the_bytes_held_at_the_end_of_an_unjoined_connection_count_as_skipped():
    dialogue = Dialogue(late=True)

    assert dialogue.says(b"remainder") == []
    dialogue.closes()
    assert dialogue.outcome is Outcome.UNJOINED
    assert dialogue.forwarding.skipped == 9


def test_a_late_join_whose_end_is_not_seen_is_unfinished():
    dialogue = Dialogue(late=True)

    assert dialogue.says(HEAD) == [BEGIN, HEAD]
    assert dialogue.closes(CloseReason.IDLE) == [RESET]
    assert dialogue.outcome is Outcome.UNFINISHED


@pytest.mark.parametrize("joined", [True, False])
def test_a_late_join_that_was_cut_is_lost(joined):
    dialogue = Dialogue(late=True)
    if joined:
        dialogue.says(HEAD)

    dialogue.closes(CloseReason.CUT, unsent=10)

    assert dialogue.outcome is Outcome.CUT
    assert dialogue.forwarding.missing == 10


def test_a_late_join_with_a_gap_has_a_gap():
    dialogue = Dialogue(late=True)

    assert dialogue.misses() == []
    assert dialogue.closes() == []
    assert dialogue.outcome is Outcome.GAP


def test_a_late_join_is_abandoned():
    dialogue = Dialogue(late=True)

    dialogue.says(HEAD)
    dialogue.forwarding.abandon()
    assert dialogue.outcome is Outcome.UNFINISHED


def test_a_late_join_that_is_still_seeking_goes_on_behind_a_gap():
    """Nothing was delivered yet, so nothing can be spoilt."""
    dialogue = Dialogue(late=True)
    dialogue.says(b"\x00 the middle of a body")
    dialogue.misses(10)
    dialogue.omits()

    assert dialogue.says(HEAD) == [BEGIN, HEAD]
