"""Finding a request inside a turn, and never in a body that only holds the text of one."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from podmirror_http.boundary import MAX_HEAD_BYTES, BoundarySeeker, first_request_inside

GET = b"GET /orders?id=7 HTTP/1.1\r\nHost: shop\r\n\r\n"
POST = b"POST /orders HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"PUT /orders/7 HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"
HEAD_REMAINDER = b"pt: text/html\r\nX-Colour: blue\r\n\r\n"
CHUNKED_REMAINDER = b"\x00\xff of a chunk\r\n0\r\n\r\n"


def sought(*pieces: bytes, turn: bool = False) -> tuple[bytes | None, int]:
    """Give what is found in one turn, and how much is skipped before it."""
    seeker = BoundarySeeker(turn=turn)
    for piece in pieces:
        assert seeker.receive_data(piece) is None
    return seeker.receive_turn(), seeker.skipped


@pytest.mark.parametrize("remainder", [HEAD_REMAINDER, CHUNKED_REMAINDER, b"\r\n\r\n"])
@pytest.mark.parametrize("requests", [GET, POST, CHUNKED, GET * 20, POST + CHUNKED + GET])
@pytest.mark.parametrize("turn", [True, False])
def test_pipelined_requests_behind_the_end_of_one_are_found_with_the_turn_s_end(remainder, requests, turn):
    assert sought(remainder + requests, turn=turn) == (requests, len(remainder))


def test_they_are_found_in_single_bytes():
    turn = HEAD_REMAINDER + GET + POST

    assert sought(*(turn[at : at + 1] for at in range(len(turn)))) == (GET + POST, len(HEAD_REMAINDER))


@pytest.mark.parametrize(
    "turn",
    [
        GET,  # right behind a gap: its line may have begun before
        b"x" + GET,
        b"}" + GET,
        b"the end of a body\r\n" + GET,
        b"a: b\n\n" + GET,  # no CRLF
        HEAD_REMAINDER,
        b"x" + GET + GET,  # two requests in a body look like this, too
        b"\x00" + HEAD_REMAINDER + GET,
        HEAD_REMAINDER + GET[:-1],
        HEAD_REMAINDER + GET + b"\r\n",
        HEAD_REMAINDER + GET + b"--boundary--\r\n",
        HEAD_REMAINDER + POST[:-1],
        HEAD_REMAINDER + POST + b"!",
        HEAD_REMAINDER + CHUNKED[:-2],
        HEAD_REMAINDER + CHUNKED.replace(b"5\r\n", b"6\r\n"),
        HEAD_REMAINDER + GET + GET[:20],
        HEAD_REMAINDER + GET.replace(b"Host", b"X-Host"),
        HEAD_REMAINDER + GET.replace(b"1.1", b"1.0"),
        HEAD_REMAINDER + GET.replace(b"GET /orders?id=7", b"CONNECT shop:443"),
        HEAD_REMAINDER + GET.replace(b"GET", b"G(T"),
        HEAD_REMAINDER + b"text of GET / HTTP/1.1\r\n" + GET,
        HEAD_REMAINDER + GET.replace(b"1.1", b"1.0") + GET,  # the first line that reads so, or none
        b"no field\r\n" + HEAD_REMAINDER + b"nor this\r\n\r\n" + GET,
        b"x\r\nContent-Type: message/http\r\n\r\n" + GET,  # the body of a request
        b"x\r\ntransfer-encoding: chunked\r\n\r\n" + GET,
        b"x\r\nExpect: 100-continue\r\n\r\n" + GET,
        b"x\r\nUpgrade: websocket\r\n\r\n" + GET,
        b"10\r\n\r\n" + b"no chunk" + GET,
    ],
)
def test_whatever_is_in_doubt_is_passed_over(turn):
    assert sought(turn) == (None, len(turn))


def test_a_whole_request_at_the_end_of_the_body_of_another_is_that_body():
    outer = b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: %d\r\n\r\n" % (len(HEAD_REMAINDER + GET))
    turn = HEAD_REMAINDER + outer + HEAD_REMAINDER + GET

    assert sought(turn) == (turn[len(HEAD_REMAINDER) :], len(HEAD_REMAINDER))


def test_a_body_of_which_the_rest_comes_later_hides_the_requests_in_it():
    outer = b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 9999\r\n\r\n"

    assert sought(HEAD_REMAINDER + outer + HEAD_REMAINDER + GET)[0] is None


def test_in_a_turn_over_the_limit_nothing_is_found():
    body = CHUNKED_REMAINDER.rjust(MAX_HEAD_BYTES - len(GET), b"x")

    assert sought(body + GET) == (GET, len(body))
    assert sought(b"x" + body + GET) == (None, len(body + GET) + 1)


def test_after_a_turn_over_the_limit_the_next_is_looked_at():
    seeker = BoundarySeeker(turn=False)

    assert seeker.receive_data(bytes(MAX_HEAD_BYTES + 1)) is None
    assert seeker.receive_data(CHUNKED_REMAINDER + GET) is None
    assert seeker.receive_turn() is None
    assert seeker.receive_data(CHUNKED_REMAINDER + GET) is None
    assert seeker.receive_turn() == GET


def test_a_gap_ends_what_was_held():
    seeker = BoundarySeeker(turn=True)

    assert seeker.receive_data(HEAD_REMAINDER + GET) is None
    seeker.receive_gap()
    assert seeker.receive_turn() is None
    assert seeker.skipped == len(HEAD_REMAINDER + GET)


METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

requests = st.lists(st.sampled_from([GET, POST, CHUNKED]), min_size=1, max_size=4).map(b"".join)
texts = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"--boundary\r\n", b"Content-Type: application/http\r\n\r\n", b"{\r\n", b"\r\n\r\n", b"0\r\n"]
    ),
)


@given(
    st.lists(st.one_of(texts, requests), max_size=6).map(b"".join), texts.filter(lambda text: len(text) > 0)
)
@example(HEAD_REMAINDER + GET, b"\r\n")
def test_no_request_is_found_in_a_body_that_goes_on_behind_it(beginning, end):
    """A body that holds requests and ends with anything else, in whatever way it was cut at its beginning."""
    assert first_request_inside(beginning + end) is None


@given(
    st.binary(min_size=1, max_size=60).filter(lambda body: not body.endswith(b"\n\r\n")),
    requests,
    st.integers(0, 60),
)
def test_no_request_is_found_at_the_end_of_a_body_that_does_not_end_like_one(body, embedded, start):
    assert first_request_inside((body + embedded)[min(start, len(body)) :]) is None


@given(st.lists(st.one_of(texts, requests), max_size=6).map(b"".join))
def test_what_is_found_is_whole_requests_to_the_end(turn):
    found = first_request_inside(turn)

    if found is not None:
        rest = turn[found:]
        assert turn[:found].endswith(b"\n\r\n")
        while rest:
            at, first = min((rest.find(each), each) for each in (GET, POST, CHUNKED) if each in rest)
            assert METHOD.fullmatch(rest[:at] + first.split()[0]), (
                "what stands before it is a part of its method"
            )
            rest = rest[at + len(first) :]


@given(st.sampled_from([HEAD_REMAINDER, CHUNKED_REMAINDER]), requests, st.integers(0, 40))
def test_wherever_the_remainder_was_cut_the_requests_are_found_whole_or_not_at_all(
    remainder, pipelined, start
):
    cut = remainder[min(start, len(remainder)) :]

    assert first_request_inside(cut + pipelined) in (len(cut), None)
    if cut.count(b"\r\n") >= 2 and not cut.startswith(b"\n0"):
        assert first_request_inside(cut + pipelined) == len(cut)
