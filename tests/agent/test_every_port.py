"""Subscriptions to every connection: which end is the responder, and what is told of connections that came to nothing."""

import pytest

from podmirror_wire.frames import Closed, Data, Ended, Opened
from podmirror_wire.values import EVERY_PORT, CloseReason
from tests.agent.packets import End, Talk
from tests.agent.stage import TO_INITIATOR, TO_RESPONDER


@pytest.fixture
def session(stage):
    return stage.session(EVERY_PORT, responder="bytes")


def told(stage, session, kind):
    return [frame for frame in stage.frames(session) if isinstance(frame, kind)]


def test_a_connection_of_any_port_is_told(stage, session):
    talk = Talk(End("10.0.0.1", 40000, 100), End("10.0.0.2", 6379, 900))
    stage.see(*talk.handshake(), talk.says(b"PING"), talk.answers(b"PONG"))

    (opened,) = told(stage, session, Opened)

    assert (opened.initiator.port, opened.responder.port) == (40000, 6379)


def test_a_call_that_the_pod_makes_is_told_with_the_pod_as_initiator(stage, session):
    talk = Talk(End("10.0.0.2", 40000, 100), End("10.0.0.9", 80, 900))
    stage.see(*talk.handshake(), talk.says(b"GET"))

    frames = stage.frames(session)

    assert [str(frame.initiator) for frame in frames if isinstance(frame, Opened)] == ["10.0.0.2:40000"]
    assert Data(1, TO_RESPONDER, 0, b"GET") in frames


def test_of_a_connection_without_a_beginning_the_lower_port_is_the_service(stage, session, talk):
    talk.handshake()
    stage.see(talk.answers(b"news"), talk.says(b"thanks"))

    frames = stage.frames(session)

    assert [(frame.late, frame.responder.port) for frame in frames if isinstance(frame, Opened)] == [
        (True, 80)
    ]
    assert [(frame.direction, frame.payload) for frame in frames if isinstance(frame, Data)] == [
        (TO_INITIATOR, b"news"),
        (TO_RESPONDER, b"thanks"),
    ]


def test_a_keep_alive_probe_does_not_shift_what_follows(stage, session, talk):
    talk.handshake()
    probe = talk.ack()
    stage.see(replace_sequence(probe, probe.sequence - 1), talk.server_ack(), talk.says(b"hello"))

    frames = stage.frames(session)

    assert [(frame.offset, frame.payload) for frame in frames if isinstance(frame, Data)] == [(0, b"hello")]


def replace_sequence(segment, sequence):
    return segment._replace(sequence=sequence & 0xFFFFFFFF)


def test_a_refused_connection_is_told(stage, session, talk):
    stage.see(talk.syn(), talk.server_reset())

    frames = stage.frames(session)

    assert [type(frame) for frame in frames] == [Opened, Closed]
    assert frames[-1].reason is CloseReason.RESET_BY_RESPONDER


def test_a_refused_connection_is_not_told_where_a_port_was_asked_for(stage, talk):
    session = stage.session(80)
    stage.see(talk.syn(), talk.server_reset())

    assert stage.frames(session) == []


def test_the_end_of_the_capture_closes_what_is_open(stage, session, talk):
    stage.see(*talk.handshake(), talk.says(b"GET"))
    stage.mirror.finish(stage.now)

    assert told(stage, session, Closed) == [Closed(1, CloseReason.CAPTURE_ENDED, 0)]


def test_the_same_packets_again_are_another_connection(stage, session, talk):
    segments = [*talk.handshake(), talk.says(b"GET"), talk.fin(), talk.server_fin(), talk.ack()]
    for _ in range(2):
        stage.see(*segments)
        stage.mirror.finish(stage.now)

    frames = stage.frames(session)

    assert [frame.connection for frame in frames if isinstance(frame, Opened)] == [1, 2]
    assert [frame.offset for frame in frames if isinstance(frame, Ended)] == [3, 0, 3, 0]


def test_an_unanswered_connection_is_told_at_the_end_of_the_capture(stage, session, talk):
    stage.see(talk.syn())
    stage.mirror.finish(stage.now)

    assert [type(frame) for frame in stage.frames(session)] == [Opened, Closed]
