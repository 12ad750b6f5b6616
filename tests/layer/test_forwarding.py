"""Dialogues: the frames of a mirrored connection go in, steps for the local one come out."""

import pytest

from podmirror.forwarding import Outcome, Write
from podmirror_http.recognition import HTTP2_PREFACE
from podmirror_wire.values import CloseReason, Direction
from tests.layer.dialogue import BEGIN, DISMISS, FINISH, HALF_CLOSE, RESET, TLS_HELLO, Dialogue, told
from tests.layer.frames import HEAD, OTHER_HEAD


def test_opening_alone_does_nothing():
    dialogue = Dialogue()

    assert dialogue.give(dialogue.talk.opened()) == []
    assert dialogue.outcome is Outcome.OPEN


def test_a_request_and_its_end_are_passed_on():
    dialogue = Dialogue()

    assert dialogue.says(HEAD) == [BEGIN, HEAD]
    assert dialogue.omits() == []
    assert dialogue.says(OTHER_HEAD) == [OTHER_HEAD]
    assert dialogue.answers(b"200 OK") == [6]
    assert dialogue.ends() == [HALF_CLOSE]
    assert dialogue.ends(Direction.TO_INITIATOR) == []
    assert dialogue.closes() == [FINISH]

    assert dialogue.outcome is Outcome.WHOLE
    assert dialogue.forwarding.written == len(HEAD + OTHER_HEAD)
    assert dialogue.forwarding.missing == dialogue.forwarding.skipped == 0


def test_any_protocol_in_which_the_client_speaks_first_is_whole():
    dialogue = Dialogue()

    assert dialogue.says(b"\x00\x01binary") == [BEGIN, b"\x00\x01binary"]
    assert dialogue.closes() == [FINISH]
    assert dialogue.outcome is Outcome.WHOLE


def test_a_write_says_whether_it_begins_a_turn():
    dialogue = Dialogue()
    steps = [
        *dialogue.forwarding.receive_frame(dialogue.talk.says(HEAD)),
        *dialogue.forwarding.receive_frame(dialogue.talk.says(b"more")),
        *dialogue.forwarding.receive_frame(dialogue.talk.omits(3)),
        *dialogue.forwarding.receive_frame(dialogue.talk.says(HEAD)),
        *dialogue.forwarding.receive_frame(dialogue.talk.says(b"more")),
    ]

    assert [step.begins_turn for step in steps if isinstance(step, Write)] == [False, False, True, False]


def test_a_connection_in_which_nothing_was_said_is_made_all_the_same():
    dialogue = Dialogue()

    assert dialogue.ends() == [BEGIN, HALF_CLOSE]
    assert dialogue.closes() == [FINISH]
    assert dialogue.outcome is Outcome.WHOLE


def test_a_responder_that_ends_first_does_not_speak_first():
    dialogue = Dialogue()

    assert dialogue.ends(Direction.TO_INITIATOR) == []
    assert dialogue.says(HEAD) == [BEGIN, HEAD]
    assert dialogue.ends() == [HALF_CLOSE]
    assert dialogue.closes() == [FINISH]


@pytest.mark.parametrize("reason", [CloseReason.RESET_BY_INITIATOR, CloseReason.RESET_BY_RESPONDER])
def test_a_reset_is_passed_on_behind_the_data(reason):
    dialogue = Dialogue()

    assert dialogue.says(HEAD) == [BEGIN, HEAD]
    assert dialogue.closes(reason) == [RESET]
    assert dialogue.outcome is Outcome.RESET


def test_a_reset_after_a_half_close_is_passed_on():
    dialogue = Dialogue()

    assert dialogue.says(HEAD) == [BEGIN, HEAD]
    assert dialogue.ends() == [HALF_CLOSE]
    assert dialogue.closes(CloseReason.RESET_BY_RESPONDER) == [RESET]


def test_a_reset_before_anything_was_said_is_passed_on():
    dialogue = Dialogue()

    assert dialogue.closes(CloseReason.RESET_BY_INITIATOR) == [BEGIN, RESET]


@pytest.mark.parametrize(
    ("reason", "outcome"), [(CloseReason.CUT, Outcome.CUT), (CloseReason.SHED, Outcome.SHED)]
)
def test_a_connection_that_was_cut_is_reset_behind_what_is_certain(reason, outcome):
    dialogue = Dialogue()

    assert dialogue.says(HEAD) == [BEGIN, HEAD]
    assert dialogue.closes(reason, unsent=1234) == [RESET]
    assert dialogue.outcome is outcome
    assert dialogue.forwarding.missing == 1234


@pytest.mark.parametrize(
    "reason",
    [CloseReason.IDLE, CloseReason.REPLACED, CloseReason.UNSUBSCRIBED, CloseReason.AGENT_ENDED],
)
def test_an_end_that_was_not_seen_is_no_end(reason):
    dialogue = Dialogue()

    assert dialogue.says(HEAD) == [BEGIN, HEAD]
    assert dialogue.closes(reason) == [RESET]
    assert dialogue.outcome is Outcome.UNFINISHED


def test_after_the_end_of_the_session_a_connection_is_unfinished():
    dialogue = Dialogue()

    assert dialogue.says(HEAD) == [BEGIN, HEAD]
    dialogue.forwarding.abandon()
    assert dialogue.outcome is Outcome.UNFINISHED


def test_a_half_close_is_the_last_word():
    dialogue = Dialogue()

    assert dialogue.says(HEAD) == [BEGIN, HEAD]
    assert dialogue.ends() == [HALF_CLOSE]
    assert dialogue.answers(b"the rest of a long answer") == [25]
    assert dialogue.closes() == [FINISH]


def test_the_end_of_the_session_does_not_hide_a_gap():
    dialogue = Dialogue(on_gap="rejoin")

    assert dialogue.says(HEAD) == [BEGIN, HEAD]
    assert dialogue.misses() == [RESET]
    dialogue.forwarding.abandon()
    assert dialogue.outcome is Outcome.GAP


def test_the_end_of_the_session_changes_nothing_about_what_ended_before():
    dialogue = Dialogue()

    dialogue.give(*dialogue.talk.whole(HEAD))
    dialogue.forwarding.abandon()
    assert dialogue.outcome is Outcome.WHOLE


# TLS, and protocols in which the server speaks first.


def test_tls_is_given_up_and_its_bytes_are_paid_for():
    dialogue = Dialogue()

    assert dialogue.says(TLS_HELLO) == [len(TLS_HELLO), DISMISS]
    assert dialogue.answers(b"hello") == [5]
    assert dialogue.says(b"more") == [4]  # on its way already
    assert dialogue.omits(30, Direction.TO_RESPONDER) == []
    assert dialogue.ends() == []
    assert dialogue.closes() == []
    assert dialogue.outcome is Outcome.TLS
    assert dialogue.forwarding.written == 0
    assert dialogue.forwarding.passed_over == len(TLS_HELLO) + 4 + 30


def test_tls_in_single_bytes_is_given_up_at_the_third():
    dialogue = Dialogue()

    assert [dialogue.says(TLS_HELLO[at : at + 1]) for at in range(4)] == [[], [], [3, DISMISS], [1]]
    assert dialogue.outcome is Outcome.TLS


def test_what_only_begins_like_tls_is_written_whole():
    dialogue = Dialogue()

    assert dialogue.says(b"\x16") == []
    assert dialogue.omits() == []
    assert dialogue.says(b"\x03") == []
    assert dialogue.says(b"\x09rest") == [BEGIN, b"\x16\x03\x09rest"]


@pytest.mark.parametrize("ending", ["ends", "closes"])
def test_a_connection_that_ends_before_tls_is_certain_is_written(ending):
    dialogue = Dialogue()

    assert dialogue.says(b"\x16\x03") == []
    assert getattr(dialogue, ending)() == [
        BEGIN,
        b"\x16\x03",
        {"ends": HALF_CLOSE, "closes": FINISH}[ending],
    ]


def test_a_gap_before_tls_is_certain_shows_what_there_is():
    dialogue = Dialogue()

    assert dialogue.says(b"\x16\x03") == []
    assert dialogue.misses() == [BEGIN, b"\x16\x03", RESET, DISMISS]


@pytest.mark.parametrize("form", ["answers", "omits"])
def test_a_server_that_speaks_first_is_given_up(form):
    dialogue = Dialogue()
    greeting = dialogue.answers(b"220 mail") if form == "answers" else dialogue.omits(8)

    assert greeting == ([8] if form == "answers" else [])
    assert dialogue.says(b"HELO") == [4, DISMISS]
    assert dialogue.closes() == []
    assert dialogue.outcome is Outcome.SERVER_FIRST
    assert dialogue.forwarding.passed_over == 4


@pytest.mark.parametrize("ending", ["ends", "closes", "misses", "abandons"])
@pytest.mark.parametrize("said", [b"", b"PRI * HTT"])
def test_a_server_that_speaks_first_to_a_client_that_says_too_little_is_given_up(ending, said):
    dialogue = Dialogue()
    dialogue.omits()
    if said:
        assert dialogue.says(said) == []

    if ending == "abandons":
        dialogue.forwarding.abandon()
    else:
        told = getattr(dialogue, ending)()
        assert told == [*([len(said)] if said else []), *([DISMISS] if ending != "closes" else [])]
        assert dialogue.forwarding.passed_over == len(said)
    assert dialogue.outcome is Outcome.SERVER_FIRST


def test_http2_is_whole_though_its_server_sends_settings_first():
    dialogue = Dialogue()

    assert dialogue.omits(30) == []
    assert dialogue.says(HTTP2_PREFACE[:10]) == []
    assert dialogue.omits(9) == []
    assert dialogue.says(HTTP2_PREFACE[10:] + b"SETTINGS") == [BEGIN, HTTP2_PREFACE + b"SETTINGS"]
    assert dialogue.says(b"HEADERS") == [b"HEADERS"]
    assert dialogue.ends() == [HALF_CLOSE]
    assert dialogue.closes() == [FINISH]
    assert dialogue.outcome is Outcome.WHOLE


def test_http2_whose_client_speaks_first_is_whole():
    dialogue = Dialogue()

    assert dialogue.says(HTTP2_PREFACE) == [BEGIN, HTTP2_PREFACE]
    assert dialogue.omits(30) == []
    assert dialogue.closes() == [FINISH]
    assert dialogue.outcome is Outcome.WHOLE


# A local connection that failed.


def test_when_the_local_connection_has_failed_the_rest_is_dismissed_and_counts_as_not_taken():
    dialogue = Dialogue()
    dialogue.says(HEAD)

    assert told(dialogue.forwarding.fail(1)) == [DISMISS]
    assert told(dialogue.forwarding.fail(1)) == []
    assert dialogue.says(b"more") == [4]
    assert dialogue.omits(10, Direction.TO_RESPONDER) == []
    assert dialogue.closes() == []
    assert dialogue.outcome is Outcome.WHOLE
    assert dialogue.forwarding.written == len(HEAD) + 14
    assert dialogue.forwarding.passed_over == 0


def test_a_local_connection_that_failed_before_a_rejoin_spoils_nothing():
    dialogue = Dialogue(on_gap="rejoin")
    dialogue.says(HEAD)
    dialogue.misses()

    assert dialogue.forwarding.fail(1) == []
    dialogue.omits()
    assert dialogue.says(HEAD) == [BEGIN, HEAD]
    assert dialogue.forwarding.fail(1) == []
    assert told(dialogue.forwarding.fail(2)) == [DISMISS]


def test_bytes_that_were_omitted_unasked_are_a_gap():
    dialogue = Dialogue()
    dialogue.says(HEAD)

    assert dialogue.omits(10, Direction.TO_RESPONDER) == [RESET, DISMISS]
    dialogue.closes()
    assert dialogue.outcome is Outcome.GAP
    assert dialogue.forwarding.missing == 10
