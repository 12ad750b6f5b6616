"""Times, digests and samples: what a session may ask for beside the bytes."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from podmirror_agent.packet import Way
from podmirror_agent.sample import in_sample
from podmirror_wire.frames import Closed, Data, Digest, Omitted, Opened, Timed
from podmirror_wire.values import Endpoint
from tests.agent import packets
from tests.agent.packets import End, Talk
from tests.agent.stage import TO_INITIATOR, TO_RESPONDER

ends = st.builds(Endpoint, st.ip_addresses().map(str), st.integers(0, 65535))


def see_at(stage, time, *segments):
    stage.see_packets(*(packets.captured(segment, Way.EITHER, pod_time=time) for segment in segments))


def test_times_are_told_where_they_change(stage, talk):
    session = stage.session(80, times="yes")
    see_at(stage, 100, *talk.handshake())
    see_at(stage, 200, talk.says(b"a"), talk.says(b"b"))
    see_at(stage, 300, talk.says(b"c"))

    assert stage.frames(session)[1:] == [
        Timed(1, 200),
        Data(1, TO_RESPONDER, 0, b"a"),
        Data(1, TO_RESPONDER, 1, b"b"),
        Timed(1, 300),
        Data(1, TO_RESPONDER, 2, b"c"),
    ]


def test_no_times_unless_they_are_asked_for(stage, talk):
    session = stage.session(80)
    stage.see(*talk.handshake(), talk.says(b"a"))

    assert not any(isinstance(frame, Timed) for frame in stage.frames(session))


def test_digests_are_of_all_bytes_though_none_are_sent(stage, talk):
    session = stage.session(80, initiator="lengths", responder="lengths", digests="yes")
    stage.see(*talk.handshake(), talk.says(b"GET"), talk.answers(b"ok"), talk.says(b" more"))
    stage.see(talk.fin(), talk.server_fin(), talk.ack())

    frames = stage.frames(session)

    assert not any(isinstance(frame, Data) for frame in frames)
    assert sum(frame.length for frame in frames if isinstance(frame, Omitted)) == 10
    assert frames[-3:-1] == [
        Digest(1, TO_RESPONDER, 8, hashlib.sha256(b"GET more").digest()),
        Digest(1, TO_INITIATOR, 2, hashlib.sha256(b"ok").digest()),
    ]
    assert isinstance(frames[-1], Closed)
    assert stage.counts(session)["bytes_seen"] == 10


def test_a_connection_outside_the_sample_is_counted_and_not_told(stage):
    session = stage.session(80, sample="0.5")
    for port in range(40000, 40100):
        talk = Talk(End("10.0.0.1", port, 100), End("10.0.0.2", 80, 900))
        stage.see(*talk.handshake(), talk.says(b"GET"))

    opened = [frame for frame in stage.frames(session) if isinstance(frame, Opened)]

    assert 20 < len(opened) < 80
    assert stage.counts(session)["sampled_out_connections"] == 100 - len(opened)


def test_another_session_has_what_is_not_in_the_sample(stage, talk):
    stage.session(80, sample="0.000000001")
    everything = stage.session(80)
    stage.see(*talk.handshake(), talk.says(b"GET"))

    assert Data(1, TO_RESPONDER, 0, b"GET") in stage.frames(everything)


def test_a_subscription_that_comes_later_does_not_bring_in_what_was_sampled_out(stage, talk):
    session = stage.session(80, sample="0.000000001")
    stage.see(*talk.handshake(), talk.says(b"GET"))
    stage.session(81)
    stage.see(talk.says(b" /"))

    assert stage.frames(session) == []


@given(ends, ends, st.floats(0.001, 1), st.floats(0.001, 1))
def test_a_larger_sample_holds_all_of_a_smaller_one(initiator, responder, one, other):
    small, large = sorted((one, other))

    assert in_sample(initiator, responder, large) or not in_sample(initiator, responder, small)


def test_a_sample_has_the_size_that_was_asked_for():
    responder = Endpoint("10.0.0.2", 80)
    picked = sum(in_sample(Endpoint("10.0.0.1", port), responder, 0.1) for port in range(10_000))

    assert 850 < picked < 1150  # five standard deviations
