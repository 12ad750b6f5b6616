"""What passes a session's screen: whole exchanges that were selected, and no secret."""

import gzip
import json

import pytest

from podmirror_agent.budget import OVERHEAD_BYTES
from podmirror_agent.screened import READER_BYTES
from podmirror_http.pseudonyms import Pseudonyms
from podmirror_wire.frames import Data, Ended, Gap, Omitted
from podmirror_wire.values import Direction
from tests.agent.screening import GET, KEY, OK, Passage, redact_option, select_option

TOKEN = b"SECRET-TOKEN"
PATHS = select_option(paths=["/a"])
ERRORS = select_option(statuses=["5xx"])


def exchanges(*paths, status=200):
    return [step for path in paths for step in ((0, GET % path), (1, OK % status))]


# Selection.


def test_only_selected_exchanges_pass_and_whole():
    passage = Passage(select=PATHS).say(*exchanges(b"/a", b"/b", b"/a/x")).close()

    assert passage.kept(0) == GET % b"/a" + GET % b"/a/x"
    assert passage.kept(1) == OK % 200 * 2
    assert passage.left(0) == len(GET % b"/b")
    passage.check_offsets()
    counts = passage.screen.counts()
    assert (counts["filtered_exchanges"], counts["filtered_bytes"]) == (1, len(GET % b"/b" + OK % 200))


def test_what_is_left_out_in_a_row_is_one_frame_for_each_direction():
    passage = Passage(select=PATHS).say(*exchanges(*[b"/b"] * 50)).close()

    assert len(passage.frames) == 2
    passage.check_offsets()


def test_a_request_waits_for_the_status_of_its_response():
    passage = Passage(select=ERRORS).say((0, GET % b"/"))
    assert passage.frames == []

    passage.say((1, OK % 503))
    assert passage.kept(0) == GET % b"/"

    passage.say(*exchanges(b"/", status=200)).close()
    assert passage.kept(0) == GET % b"/"
    passage.check_offsets()


def test_a_request_without_a_response_cannot_be_judged():
    passage = Passage(select=ERRORS).say((0, GET % b"/")).close()

    assert (passage.kept(0), passage.left(0)) == (b"", len(GET % b"/"))
    assert passage.screen.counts()["unjudged_exchanges"] == 1


def test_what_is_no_exchange_is_not_selected():
    passage = Passage(select=PATHS).say((0, b"\x16\x03\x01"), (1, b"abc")).close()

    assert passage.frames == [Omitted(1, Direction(0), 0, 3), Omitted(1, Direction(1), 0, 3)]


def test_a_gap_in_an_exchange_that_is_not_wanted_is_none():
    post = b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
    passage = (
        Passage(select=PATHS).say((0, post)).miss(0, 10).say((1, OK % 200)).say(*exchanges(b"/a")).close()
    )

    assert not any(isinstance(each, Gap) for each in passage.frames)
    assert passage.kept(0) == GET % b"/a"
    passage.check_offsets()


def test_a_gap_in_an_exchange_that_is_wanted_is_told():
    post = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
    passage = Passage(select=PATHS).say((0, post)).miss(0, 10).say((1, OK % 200)).close()

    assert [type(each) for each in passage.frames] == [Data, Gap, Data]
    passage.check_offsets()


def test_a_late_join_begins_with_a_whole_exchange():
    passage = Passage(select=PATHS, late=True).say((0, b"rest"), (1, b"of it"), *exchanges(b"/a")).close()

    assert passage.kept(0) == GET % b"/a"
    assert passage.kept(1) == OK % 200
    passage.check_offsets()


def test_lengths_alone_are_told_of_answers_that_nobody_wants():
    sends = {Direction.TO_RESPONDER: True, Direction.TO_INITIATOR: False}
    passage = Passage(select=ERRORS, sends=sends).say(*exchanges(b"/a", status=500)).close()

    assert passage.kept(0) == GET % b"/a"
    assert (passage.kept(1), passage.left(1)) == (b"", len(OK % 500))


def test_a_websocket_belongs_to_its_exchange():
    ask = b"GET %s HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n"
    switch = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n"
    for path, kept in ((b"/a", b"frame"), (b"/b", b"")):
        passage = Passage(select=PATHS).say((0, ask % path), (1, switch), (0, b"frame")).close()
        assert passage.kept(0).endswith(kept)
        assert (passage.kept(0) == b"") == (kept == b"")


# Redaction.


def test_no_byte_of_a_token_passes():
    answer = (
        b"HTTP/1.1 200 OK\r\nSet-Cookie: id=SECRET-COOKIE; Path=/\r\nContent-Length: 22\r\n\r\nit: Bearer "
        + TOKEN[:11]
    )
    passage = (
        Passage(redact=redact_option())
        .say((0, GET % b"/"))
        .say(*((1, bytes([byte])) for byte in answer))
        .close()
    )

    sent = passage.kept(0) + passage.kept(1)
    assert (len(passage.kept(0)), len(passage.kept(1))) == (len(GET % b"/"), len(answer))
    assert b"SECRET" not in sent
    stand_in = Pseudonyms(KEY).of(TOKEN)
    assert b"Bearer " + stand_in in sent
    assert b"\r\nHost: shop\r\n" in sent
    assert passage.screen.counts()["redacted_values"] == 3
    passage.check_offsets()


def test_a_token_over_several_chunks_is_found():
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"6\r\nBearer\r\n4\r\n SEC\r\n5\r\nRET-X\r\n0\r\nX-Token: SECRET\r\n\r\n"
    passage = Passage(redact=redact_option()).say((0, GET % b"/"), (1, head + body)).close()

    assert b"SEC" not in passage.kept(1)
    assert b"RET" not in passage.kept(1)
    assert len(passage.kept(1)) == len(head + body)
    assert passage.kept(1).startswith(head + b"6\r\nBearer\r\n4\r\n ")


def test_compressed_bodies_are_left_out_and_their_framing_is_not():
    packed = gzip.compress(b"Bearer " + TOKEN)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    passage = Passage(redact=redact_option()).say((0, GET % b"/"), (1, head + packed), *exchanges(b"/2"))

    assert passage.kept(1) == head + OK % 200
    assert passage.left(1) == len(packed) == passage.screen.counts()["redacted_out_bytes"]
    passage.check_offsets()


@pytest.mark.parametrize(
    "first", [b"\x16\x03\x01" + TOKEN, b"*1\r\n" + TOKEN, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + TOKEN]
)
def test_other_protocols_are_left_out(first):
    passage = Passage(redact=redact_option()).say((0, first), (1, TOKEN)).close()

    assert (passage.kept(0), passage.kept(1)) == (b"", b"")
    assert passage.screen.counts()["redacted_out_bytes"] == len(first + TOKEN)


def test_websocket_frames_are_left_out():
    ask = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n"
    switch = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n"
    passage = Passage(redact=redact_option()).say((0, ask), (1, switch), (0, TOKEN)).close()

    assert (passage.kept(0), passage.left(0)) == (ask, len(TOKEN))


def test_json_values_are_replaced_in_place():
    body = json.dumps({"user": {"token": "SECRET", "n": 1}}).encode()
    post = (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        % len(body)
    )
    passage = Passage(redact=redact_option("json:$.user.token")).say((0, post + body), (1, OK % 200)).close()

    read = json.loads(passage.kept(0)[len(post) :])
    assert read["user"]["n"] == 1
    assert read["user"]["token"] != "SECRET"
    passage.check_offsets()


def test_the_rest_behind_a_gap_in_a_head_does_not_pass():
    raw = GET % b"/"
    at = raw.index(TOKEN) + 3
    passage = Passage(redact=redact_option()).say((0, raw[: at - 5])).miss(0, 5).say((0, raw[at:])).close()

    assert passage.kept(0) == b""
    passage.check_offsets()


def test_selection_and_redaction_go_together():
    passage = Passage(select=PATHS, redact=redact_option()).say(*exchanges(b"/a", b"/b")).close()

    assert len(passage.kept(0)) == len(GET % b"/a")
    assert TOKEN not in passage.kept(0)
    assert passage.screen.counts()["redacted_out_bytes"] == 0


# Ends and memory.


def test_an_end_comes_behind_what_waited_for_a_verdict():
    passage = Passage(select=ERRORS).say((0, GET % b"/")).end(0)
    assert passage.frames == []

    passage.say((1, OK % 500)).end(1).close()
    assert [type(each) for each in passage.frames] == [Data, Ended, Data, Ended]


def test_an_end_comes_behind_what_waited_for_the_answer_to_an_upgrade():
    ask = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n"
    passage = Passage(redact=redact_option()).say((0, ask), (0, GET % b"/2")).end(0)
    assert passage.kept(0) == ask

    passage.say((1, OK % 200), (1, OK % 200)).close()
    assert len(passage.kept(0)) == len(ask + GET % b"/2")
    passage.check_offsets()


def test_a_body_that_is_too_much_for_the_budget_is_left_out():
    post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
    passage = Passage(redact=redact_option("re:x+"), budget=50_000)
    passage.say((0, post), *[(0, b"y" * 1000)] * 100)

    assert passage.budget.held <= 50_000
    passage.say((1, OK % 200)).close()
    assert passage.kept(0) == post
    assert passage.left(0) == 100_000
    assert passage.budget.held == 0
    passage.check_offsets()


def test_requests_that_wait_for_their_status_are_bounded():
    passage = Passage(select=ERRORS, budget=20_000)
    passage.say(*[(0, GET % b"/")] * 500)

    assert passage.budget.held <= 20_000
    passage.say(*[(1, OK % 500)] * 500).close()
    assert passage.budget.held == 0
    passage.check_offsets()
    assert passage.screen.counts()["unjudged_exchanges"] > 0


def test_without_any_memory_all_is_left_out():
    passage = (
        Passage(redact=redact_option(), budget=READER_BYTES - OVERHEAD_BYTES).say(*exchanges(b"/a")).close()
    )

    assert (passage.kept(0), passage.left(0)) == (b"", len(GET % b"/a"))
    assert passage.budget.held == 0
    passage.check_offsets()


def test_a_reader_that_finds_no_memory_on_the_way_leaves_the_rest_out():
    passage = Passage(redact=redact_option(), budget=READER_BYTES + 500)
    passage.say((0, b"GET / HTTP/1.1\r\nX: " + b"a" * 1000), (0, b"SECRET\r\n\r\n"), (1, OK % 200)).close()

    assert passage.kept(0) == b""
    assert passage.budget.held == 0
    passage.check_offsets()


def test_what_was_still_held_of_a_body_keeps_its_place_when_its_exchange_was_interrupted():
    """The broken answer keeps the request's end from being told, and its rest may be that of a token."""
    post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
    passage = Passage(redact=redact_option()).say(
        (0, post % 30 + b"0123456789"),
        (1, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n"),
        (0, b"0123456789ABCDEFGHIJ"),
        (0, post % 10 + b"ABCDEFGHIJ"),
        (0, post % 3 + b"KLM"),
    )
    passage.close()

    passage.check_offsets()
    for frame in passage.frames:
        if isinstance(frame, Data) and frame.direction is Direction.TO_RESPONDER:
            assert frame.payload == passage.originals[0][frame.offset :][: len(frame.payload)]
    assert passage.kept(0).endswith(post % 10 + b"ABCDEFGHIJ" + post % 3 + b"KLM")
