"""A session that selects or redacts: what it is told, beside one that does neither."""

import pytest

from podmirror_agent.table import CONNECTION_BYTES, TOMBSTONE_BYTES
from podmirror_wire.errors import ProtocolError
from podmirror_wire.frames import Closed, Data, Digest, Ended, Omitted, Options, Timed, Unsubscribe
from podmirror_wire.values import CloseReason
from tests.agent.screening import GET, OK, redact_option, select_option
from tests.agent.stage import TO_INITIATOR, TO_RESPONDER, opened

PATHS = select_option(paths=["/a"])
ERRORS = select_option(statuses=["5xx"])
A, B, FINE = GET % b"/a", GET % b"/b", OK % 200


def kept(frames, direction):
    return b"".join(each.payload for each in frames if isinstance(each, Data) and each.direction == direction)


def test_a_session_that_selects_does_not_change_what_another_sees(stage, talk):
    choosy, other = stage.session(80, select=PATHS), stage.session(80, responder="bytes")

    stage.see(*talk.handshake(), talk.says(B), talk.answers(FINE), talk.says(A), talk.answers(FINE))

    assert kept(stage.frames(other), TO_RESPONDER) == B + A
    assert stage.frames(choosy) == [
        opened(),
        Omitted(1, TO_RESPONDER, 0, len(B)),
        Omitted(1, TO_INITIATOR, 0, len(FINE)),
        Data(1, TO_RESPONDER, len(B), A),
        Omitted(1, TO_INITIATOR, len(FINE), len(FINE)),
    ]
    assert stage.counts(choosy)["filtered_exchanges"] == 1
    assert stage.counts(choosy)["filtered_bytes"] == len(B)
    assert "filtered_bytes" not in stage.counts(other)


def test_the_screen_reads_answers_that_the_layer_is_not_sent(stage, talk):
    session = stage.session(80, select=ERRORS)
    assert stage.mirror.interest.responder_bytes

    stage.see(*talk.handshake(), talk.says(A), talk.answers(OK % 500))

    assert kept(stage.frames(session), TO_RESPONDER) == A


def test_a_secret_is_replaced_and_digests_are_of_the_original(stage, talk):
    plain = stage.session(80, responder="bytes", digests="yes")
    redacted = stage.session(80, responder="bytes", digests="yes", times="yes", redact=redact_option())

    stage.see(*talk.handshake(), talk.says(A), talk.answers(FINE), talk.fin(), talk.server_fin(), talk.ack())

    frames, original = stage.frames(redacted), stage.frames(plain)
    assert len(kept(frames, TO_RESPONDER)) == len(A)
    assert b"SECRET" not in kept(frames, TO_RESPONDER)
    assert isinstance(frames[1], Timed)
    assert [type(each) for each in frames[-5:]] == [Ended, Ended, Digest, Digest, Closed]
    digests = [[each for each in told if isinstance(each, Digest)] for told in (frames, original)]
    assert digests[0] == digests[1]
    assert stage.counts(redacted)["redacted_values"] == 1


def test_what_waits_for_a_verdict_is_given_up_with_the_connection(stage, talk):
    session = stage.session(80, select=ERRORS)

    stage.see(*talk.handshake(), talk.says(A), talk.reset())

    assert [type(each) for each in stage.frames(session)] == [type(opened()), Omitted, Closed]
    assert stage.budget.held == TOMBSTONE_BYTES


@pytest.mark.parametrize("how", ["unsubscribe", "remove"])
@pytest.mark.parametrize("terms", [{"select": ERRORS}, {"redact": redact_option()}], ids=str)
def test_nothing_is_held_for_a_session_that_ended(stage, talk, how, terms):
    session = stage.session(80, **terms)
    stage.see(*talk.handshake(), talk.says(A[:9]))
    assert stage.budget.held > CONNECTION_BYTES

    if how == "unsubscribe":
        stage.tell(session, Unsubscribe(1))
    else:
        stage.mirror.remove_session(session)

    assert stage.budget.held == 0


def test_an_agent_that_ends_decides_what_waits(stage, talk):
    session = stage.session(80, redact=redact_option("re:never"))
    post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
    stage.see(*talk.handshake(), talk.says(post + b"half"))

    stage.mirror.close_connections(CloseReason.AGENT_ENDED)

    assert stage.frames(session)[1:] == [
        Data(1, TO_RESPONDER, 0, post),
        Omitted(1, TO_RESPONDER, len(post), 4),
        Closed(1, CloseReason.AGENT_ENDED, 0),
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [("select", "[]"), ("select", '{"statuses":["9xx"]}'), ("redact", "{}"), ("redact", "x")],
)
def test_terms_that_cannot_be_read_end_the_session(stage, name, value):
    with pytest.raises(ProtocolError, match=r"option|status"):
        stage.tell(stage.mirror.add_session(), Options({name: value}))


def test_the_key_is_in_no_message(stage):
    bad = redact_option("nonsense")
    with pytest.raises(ProtocolError) as refused:
        stage.tell(stage.mirror.add_session(), Options({"redact": bad}))
    assert "00010203" not in str(refused.value)
