"""Connections that cannot be redacted are told by their protocol, and by no byte of their own."""

import pytest

from podmirror_agent.beginnings import Beginnings
from podmirror_agent.budget import Budget
from podmirror_http.pseudonyms import KEY_BYTES
from podmirror_http.redaction import format_option
from podmirror_wire.frames import Data, Omitted, Recognised
from tests.agent.stage import TO_INITIATOR, TO_RESPONDER


@pytest.fixture
def session(stage):
    return stage.session(80, responder="bytes", redact=format_option(bytes(KEY_BYTES), []))


def told(stage, session):
    return [frame for frame in stage.frames(session) if isinstance(frame, Recognised | Data)]


def test_redis_is_told_without_its_bytes(stage, session, talk):
    stage.see(*talk.handshake(), talk.says(b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n"), talk.answers(b"+OK\r\n"))

    assert told(stage, session) == [Recognised(1, {"protocol": "Redis", "detail": "begins with AUTH"})]


def test_postgresql_is_told_without_names(stage, session, talk):
    startup = b"\x00\x03\x00\x00user\x00anna\x00database\x00shop\x00\x00"
    stage.see(
        *talk.handshake(), talk.says((len(startup) + 4).to_bytes(4, "big") + startup), talk.answers(b"R")
    )

    assert told(stage, session) == [Recognised(1, {"protocol": "PostgreSQL", "detail": ""})]


@pytest.mark.parametrize(
    ("greeting", "protocol"),
    [(b"220 t0ken", "SMTP or FTP"), (b"+OK t0ken", "POP3"), (b"* OK t0ken", "IMAP")],
)
def test_a_greeting_is_told_without_its_words(stage, session, talk, greeting, protocol):
    stage.see(*talk.handshake(), talk.answers(greeting + b"\r\n"), talk.says(b"hello\r\n"))

    assert told(stage, session) == [Recognised(1, {"protocol": protocol, "detail": ""})]


def test_what_is_told_at_the_end_of_a_connection_in_which_one_end_spoke(stage, session, talk):
    stage.see(
        *talk.handshake(),
        talk.says(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        talk.fin(),
        talk.server_fin(),
        talk.ack(),
    )

    assert told(stage, session) == [Recognised(1, {"protocol": "HTTP/2", "detail": ""})]


def test_http_is_not_told_since_it_is_shown(stage, session, talk):
    stage.see(
        *talk.handshake(),
        talk.says(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        talk.answers(b"HTTP/1.1 204 No\r\n\r\n"),
    )

    assert [type(frame) for frame in told(stage, session)] == [Data, Data]


def test_what_is_unknown_is_not_told(stage, session, talk):
    stage.see(*talk.handshake(), talk.says(b"\x01\x02\x03"), talk.answers(b"\x04"))

    frames = stage.frames(session)
    assert not [frame for frame in frames if isinstance(frame, Recognised | Data)]
    assert sum(frame.length for frame in frames if isinstance(frame, Omitted)) <= 4


def test_a_session_that_does_not_redact_is_told_nothing(stage, talk):
    session = stage.session(80)
    stage.see(*talk.handshake(), talk.says(b"*1\r\n$4\r\nPING\r\n"), talk.answers(b"+PONG\r\n"))

    assert [type(frame) for frame in told(stage, session)] == [Data]


@pytest.mark.parametrize("limit", [0, 1000, 3000])
def test_the_budget_bounds_what_is_kept(limit):
    budget = Budget(limit)
    beginnings = Beginnings(budget)
    for number in range(10):
        beginnings.open(number, late=False)
        beginnings.receive_data(Data(number, TO_RESPONDER, 0, bytes(500)))
        assert budget.held <= limit
    beginnings.discard()

    assert budget.held == 0


def test_what_was_kept_is_given_back_when_it_is_told():
    budget = Budget(100_000)
    beginnings = Beginnings(budget)
    beginnings.open(1, late=False)
    beginnings.receive_data(Data(1, TO_RESPONDER, 0, bytes(5000)))
    beginnings.open(2, late=False)
    beginnings.receive_data(Data(2, TO_RESPONDER, 0, b"a"))
    beginnings.receive_data(Data(2, TO_INITIATOR, 0, b"b"))

    assert budget.held == 0
