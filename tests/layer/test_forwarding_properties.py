"""Whatever the frames are, the steps invent no byte and pay for none twice."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from podmirror.forwarding import (
    Begin,
    Dismiss,
    Finish,
    Forwarding,
    HalfClose,
    Outcome,
    Pass,
    Reset,
    Step,
    Write,
)
from podmirror_http.recognition import HTTP2_PREFACE
from podmirror_wire.frames import Data
from podmirror_wire.values import CloseReason, Direction
from tests.layer.frames import HEAD, OTHER_HEAD, Talk

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
    st.sampled_from([HTTP2_PREFACE, HTTP2_PREFACE[:9], b"a: b\r\n\r\n" + HEAD, b"\x17\x03\x03\x00\x01\x00"]),
    st.sampled_from(["answers", "omits", "misses"]),
)


@given(
    late=st.booleans(),
    on_gap=st.sampled_from(["reset", "rejoin"]),
    late_joins=st.sampled_from(["skip", "http", "raw"]),
    events=st.lists(events, max_size=15),
    half_closed=st.booleans(),
    reason=st.sampled_from(CloseReason),
)
def test_whatever_happens_no_byte_is_invented_and_none_is_paid_for_twice(
    late, on_gap, late_joins, events, half_closed, reason
):
    talk = Talk(late=late)
    forwarding = Forwarding(talk.opened(), on_gap=on_gap, late_joins=late_joins)
    steps: list[Step] = forwarding.receive_frame(talk.opened())
    received = said = missed = 0
    stretches = [b""]  # the initiator's bytes between gaps
    for event in events:
        match event:
            case "answers":
                frame = talk.answers(b"yes")
            case "omits":
                frame = talk.omits(10)
            case "misses":
                frame = talk.misses(7)
                missed += 7
                stretches.append(b"")
            case _ if any(isinstance(step, Dismiss) for step in steps):
                frame = talk.omits(len(event), Direction.TO_RESPONDER)
                said += len(event)
            case _:
                frame = talk.says(event)
                stretches[-1] += event
                said += len(event)
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
    assert forwarding.written + forwarding.skipped + forwarding.passed_over == said
    assert forwarding.missing == missed
    dismissed = [at for at, step in enumerate(steps) if isinstance(step, Dismiss)]
    assert len(dismissed) <= 1
    assert not any(isinstance(step, Begin | Write) for at in dismissed for step in steps[at:])
