"""Dialogues of connections whose beginning was not seen."""

import pytest

from podmirror.forwarding import Outcome
from podmirror_http.recognition import HTTP2_PREFACE
from podmirror_wire.values import CloseReason, Direction
from tests.layer.dialogue import BEGIN, DISMISS, FINISH, HALF_CLOSE, RESET, TLS_HELLO, Dialogue
from tests.layer.frames import HEAD, OTHER_HEAD

TLS_RECORD = bytes.fromhex("17 03 03 00 20") + bytes(32)

# Joined at a request.


def test_a_late_join_begins_with_a_request():
    dialogue = Dialogue(late=True)

    assert dialogue.says(HEAD) == [BEGIN, HEAD]
    assert dialogue.closes() == [FINISH]
    assert dialogue.outcome is Outcome.JOINED
    assert dialogue.forwarding.skipped == 0


def test_a_late_join_in_the_middle_waits_for_a_request():
    dialogue = Dialogue(late=True)

    assert dialogue.says(b'remainder"}') == []
    assert dialogue.says(b"\r\n\r\n") == []
    assert dialogue.omits() == [15]
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

    assert dialogue.says(b"\x00binary\r\n") == []
    assert dialogue.ends() == [9]
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


def test_pipelined_requests_are_joined_inside_a_turn():
    dialogue = Dialogue(late=True)
    remainder = b"ey: value\r\n\r\n"

    assert dialogue.says(remainder + HEAD) == []
    assert dialogue.says(HEAD) == []
    assert dialogue.answers(b"200 OK") == [6, len(remainder), BEGIN, HEAD + HEAD]
    assert dialogue.says(OTHER_HEAD) == [OTHER_HEAD]
    assert dialogue.closes() == [FINISH]
    assert dialogue.outcome is Outcome.JOINED
    assert dialogue.forwarding.skipped == len(remainder)


def test_pipelined_requests_are_joined_at_the_initiator_s_end():
    dialogue = Dialogue(late=True)
    remainder = b"ey: value\r\n\r\n"

    assert dialogue.says(remainder + HEAD) == []
    assert dialogue.ends() == [len(remainder), BEGIN, HEAD, HALF_CLOSE]
    assert dialogue.closes() == [FINISH]


# Never joined.


@pytest.mark.parametrize(
    ("beginning", "outcome"),
    [(TLS_RECORD, Outcome.TLS), (TLS_HELLO, Outcome.TLS), (HTTP2_PREFACE, Outcome.HTTP2)],
)
@pytest.mark.parametrize("before", [b"", b"the midst of something"])
def test_tls_and_http2_are_given_up_when_they_are_recognised(beginning, outcome, before):
    dialogue = Dialogue(late=True)
    if before:
        assert dialogue.says(before) == []
        assert dialogue.omits() == [len(before)]

    assert dialogue.says(beginning[:3]) == []
    assert dialogue.says(beginning[3:]) == [3, len(beginning) - 3, DISMISS]
    assert dialogue.omits(50, Direction.TO_RESPONDER) == []
    assert dialogue.closes() == []
    assert dialogue.outcome is outcome
    assert dialogue.forwarding.written == 0
    assert dialogue.forwarding.skipped == len(before) + 3
    assert dialogue.forwarding.passed_over == len(beginning) - 3 + 50


def test_what_looks_like_tls_behind_a_gap_is_no_beginning():
    dialogue = Dialogue(late=True)
    dialogue.misses()

    assert dialogue.says(TLS_RECORD) == []
    assert dialogue.omits() == [len(TLS_RECORD)]
    assert dialogue.says(HEAD) == [BEGIN, HEAD]


def test_a_late_join_that_is_shed_is_lost():
    dialogue = Dialogue(late=True)

    dialogue.closes(CloseReason.SHED)
    assert dialogue.outcome is Outcome.SHED


# Skipped.


def test_a_late_join_that_is_not_asked_for_is_dismissed_at_once():
    dialogue = Dialogue(late=True, late_joins="skip")

    assert dialogue.give(dialogue.talk.opened()) == [DISMISS]
    assert dialogue.says(HEAD) == [len(HEAD)]
    assert dialogue.omits(10, Direction.TO_RESPONDER) == []
    assert dialogue.ends() == []
    assert dialogue.closes() == []
    assert dialogue.outcome is Outcome.SKIPPED
    assert dialogue.forwarding.passed_over == len(HEAD) + 10
    assert dialogue.forwarding.written == dialogue.forwarding.skipped == 0


@pytest.mark.parametrize("late_joins", ["skip", "http", "raw"])
def test_a_connection_from_its_beginning_is_whole_in_any_case(late_joins):
    dialogue = Dialogue(late_joins=late_joins)

    assert dialogue.give(dialogue.talk.opened()) == []
    assert dialogue.says(HEAD) == [BEGIN, HEAD]
    assert dialogue.closes() == [FINISH]
    assert dialogue.outcome is Outcome.WHOLE


# Raw.


@pytest.mark.parametrize("first", [b"the midst of a body", TLS_RECORD, HTTP2_PREFACE, HEAD])
@pytest.mark.parametrize("answered", [True, False])
def test_a_raw_late_join_is_delivered_from_the_first_byte_that_was_seen(first, answered):
    dialogue = Dialogue(late=True, late_joins="raw")

    if answered:
        assert dialogue.omits() == []
    assert dialogue.says(first) == [BEGIN, first]
    assert dialogue.says(b"more") == [b"more"]
    assert dialogue.ends() == [HALF_CLOSE]
    assert dialogue.closes() == [FINISH]
    assert dialogue.outcome is Outcome.JOINED
    assert dialogue.forwarding.skipped == dialogue.forwarding.passed_over == 0


def test_a_raw_late_join_of_which_no_byte_is_seen_makes_no_local_connection():
    dialogue = Dialogue(late=True, late_joins="raw")

    assert dialogue.ends() == []
    assert dialogue.closes() == []
    assert dialogue.outcome is Outcome.JOINED


def test_a_raw_late_join_goes_on_behind_a_gap_before_its_first_byte():
    dialogue = Dialogue(late=True, late_joins="raw")

    assert dialogue.misses(7) == []
    assert dialogue.says(b"body") == [BEGIN, b"body"]
    assert dialogue.misses(8) == [RESET, DISMISS]
    assert dialogue.closes() == []
    assert dialogue.outcome is Outcome.GAP
    assert dialogue.forwarding.missing == 15
