"""Dialogues: the frames of a mirrored connection go in, steps for the local one come out."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podmirror.forwarding import (
    Begin,
    Finish,
    Forwarding,
    HalfClose,
    Outcome,
    Pass,
    Reset,
    Step,
    Write,
)
from podmirror_wire.frames import Data
from podmirror_wire.values import CloseReason, Direction
from tests.layer.frames import HEAD, OTHER_HEAD, Talk

TLS_HELLO = bytes.fromhex("16 03 01 02 00 01 00 01 fc 03 03")
BEGIN, HALF_CLOSE, FINISH, RESET = "begin", "half-close", "finish", "reset"


def told(steps: list[Step]) -> list[object]:
    """Give steps in short: a write as its bytes, a pass as its size."""
    words: list[object] = []
    for step in steps:
        match step:
            case Begin():
                words.append(BEGIN)
            case Write():
                words.append(step.payload)
            case HalfClose():
                words.append(HALF_CLOSE)
            case Finish():
                words.append(FINISH)
            case Reset():
                words.append(RESET)
            case Pass():
                words.append(step.size)
    return words


class Dialogue:
    """A forwarding, and the connection that is told to it."""

    def __init__(self, *, late: bool = False, on_gap: str = "reset") -> None:
        self.talk = Talk(late=late)
        self.forwarding = Forwarding(self.talk.opened(), on_gap=on_gap)

    def give(self, *frames) -> list[object]:
        return told([step for frame in frames for step in self.forwarding.receive_frame(frame)])

    def says(self, payload: bytes) -> list[object]:
        return self.give(self.talk.says(payload))

    def answers(self, payload: bytes = b"yes") -> list[object]:
        return self.give(self.talk.answers(payload))

    def omits(self, length: int = 100) -> list[object]:
        return self.give(self.talk.omits(length))

    def misses(self, length: int = 50, direction: Direction = Direction.TO_RESPONDER) -> list[object]:
        return self.give(self.talk.misses(length, direction))

    def ends(self, direction: Direction = Direction.TO_RESPONDER) -> list[object]:
        return self.give(self.talk.ends(direction))

    def closes(self, reason: CloseReason = CloseReason.FINISHED, *, unsent: int = 0) -> list[object]:
        return self.give(self.talk.closes(reason, unsent=unsent))

    @property
    def outcome(self) -> Outcome:
        return self.forwarding.outcome


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


def test_a_connection_that_was_cut_is_reset_behind_what_is_certain():
    dialogue = Dialogue()

    assert dialogue.says(HEAD) == [BEGIN, HEAD]
    assert dialogue.closes(CloseReason.CUT, unsent=1234) == [RESET]
    assert dialogue.outcome is Outcome.CUT
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

    assert dialogue.says(TLS_HELLO) == [len(TLS_HELLO)]
    assert dialogue.answers(b"hello") == [5]
    assert dialogue.says(b"more") == [4]
    assert dialogue.ends() == []
    assert dialogue.closes() == []
    assert dialogue.outcome is Outcome.TLS
    assert dialogue.forwarding.written == 0


def test_tls_in_single_bytes_is_given_up_at_the_third():
    dialogue = Dialogue()

    assert [dialogue.says(TLS_HELLO[at : at + 1]) for at in range(4)] == [[], [], [3], [1]]
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
    assert dialogue.misses() == [BEGIN, b"\x16\x03", RESET]


@pytest.mark.parametrize("form", ["answers", "omits"])
def test_a_server_that_speaks_first_is_given_up(form):
    dialogue = Dialogue()
    greeting = dialogue.answers(b"220 mail") if form == "answers" else dialogue.omits(8)

    assert greeting == ([8] if form == "answers" else [])
    assert dialogue.says(b"HELO") == [4]
    assert dialogue.closes() == []
    assert dialogue.outcome is Outcome.SERVER_FIRST


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


# Properties.


@st.composite
def cuttings(draw, truth: bytes):
    """The truth in pieces, with answers between some of them: bytes from the initiator, sizes from the responder."""
    cuts = draw(st.lists(st.integers(0, len(truth)), max_size=8).map(sorted))
    events: list[bytes | int] = []
    for start, end in itertools.pairwise([0, *cuts, len(truth)]):
        if start < end:
            events.append(truth[start:end])
        if events and draw(st.booleans()):
            events.append(draw(st.integers(1, 50)))
    return events


truths = st.one_of(
    st.binary(min_size=1, max_size=60).filter(lambda truth: truth[:1] != b"\x16"),
    st.sampled_from([HEAD, HEAD + OTHER_HEAD + b"one", b"\x16\x03", b"\x16\x03\x09 no TLS", HEAD * 3]),
)


def credit_of(steps: list[Step]) -> int:
    return sum(len(step.payload) for step in steps if isinstance(step, Write)) + sum(
        step.size for step in steps if isinstance(step, Pass)
    )


def well_formed(steps: list[Step]) -> bool:
    """Whether nothing is done to a local connection that is not there, and none is left."""
    begun = half_closed = False
    for step in steps:
        match step:
            case Begin():
                if begun:
                    return False
                begun, half_closed = True, False
            case Write() | HalfClose():
                if not begun or half_closed:
                    return False
                half_closed = isinstance(step, HalfClose)
            case Finish() | Reset():
                if not begun:
                    return False
                begun = False
    return not begun


@given(st.data())
def test_whatever_the_cutting_the_truth_is_written(data):
    truth = data.draw(truths)
    talk = Talk()
    forwarding = Forwarding(talk.opened())
    steps: list[Step] = []
    received = 0
    for event in data.draw(cuttings(truth)):
        frame = talk.says(event) if isinstance(event, bytes) else talk.answers(b"x" * event)
        received += len(frame.payload)
        steps += forwarding.receive_frame(frame)
        written = b"".join(step.payload for step in steps if isinstance(step, Write))
        assert truth.startswith(written)
        assert credit_of(steps) <= received
    steps += forwarding.receive_frame(talk.ends())
    steps += forwarding.receive_frame(talk.closes())

    assert b"".join(step.payload for step in steps if isinstance(step, Write)) == truth
    assert credit_of(steps) == received
    assert well_formed(steps)
    assert forwarding.outcome is Outcome.WHOLE
    assert forwarding.written == len(truth)


events = st.one_of(
    st.sampled_from([HEAD, OTHER_HEAD, HEAD[:15], HEAD[15:], b"body", b"\x16", b"\x16\x03\x01", b"\r\n\r\n"]),
    st.sampled_from(["answers", "omits", "misses"]),
)


@given(
    late=st.booleans(),
    on_gap=st.sampled_from(["reset", "rejoin"]),
    events=st.lists(events, max_size=15),
    half_closed=st.booleans(),
    reason=st.sampled_from(CloseReason),
)
def test_whatever_happens_no_byte_is_invented_and_none_is_paid_for_twice(
    late, on_gap, events, half_closed, reason
):
    talk = Talk(late=late)
    forwarding = Forwarding(talk.opened(), on_gap=on_gap)
    steps: list[Step] = []
    received = 0
    stretches = [b""]  # the initiator's bytes between gaps
    for event in events:
        match event:
            case "answers":
                frame = talk.answers(b"yes")
            case "omits":
                frame = talk.omits(10)
            case "misses":
                frame = talk.misses(7)
                stretches.append(b"")
            case _:
                frame = talk.says(event)
                stretches[-1] += event
        received += len(frame.payload) if isinstance(frame, Data) else 0
        steps += forwarding.receive_frame(frame)
        assert credit_of(steps) <= received
    if half_closed:
        steps += forwarding.receive_frame(talk.ends())
    steps += forwarding.receive_frame(talk.closes(reason))

    assert well_formed(steps)
    assert credit_of(steps) <= received
    assert forwarding.outcome is not Outcome.OPEN
    locals_: list[bytes] = []
    for step in steps:
        if isinstance(step, Begin):
            locals_.append(b"")
        elif isinstance(step, Write):
            locals_[-1] += step.payload
    for taken in locals_:  # each is unbroken: a part of one stretch, and never spliced from two
        assert any(taken in stretch for stretch in stretches)
    assert sum(map(len, locals_)) == forwarding.written
