"""Finding the first byte of a request, in whatever pieces, turns and gaps the bytes come."""

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podmirror_http.boundary import MAX_HEAD_BYTES, BoundarySeeker, is_request_head

HEAD = b"GET /orders?id=7 HTTP/1.1\r\nHost: shop\r\nX-Colour: blue\r\n\r\n"
POST = b"POST /orders HTTP/1.1\r\nHost: shop\r\nContent-Length: 100\r\n\r\n"
BODY_WITH_A_REQUEST = b"--boundary\r\n" + HEAD + b"--boundary--\r\n"
BINARY = bytes(range(256)) * 4


def head_of(size: int) -> bytes:
    """Give a request's head of exactly that many bytes."""
    start, end = b"GET / HTTP/1.1\r\nHost: shop\r\nX: ", b"\r\n\r\n"
    return start + b"a" * (size - len(start) - len(end)) + end


@pytest.mark.parametrize(
    "head",
    [
        HEAD,
        POST,
        b"GET / HTTP/1.0\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: shop\r\n\r\n",
        b"GET http://shop/ HTTP/1.1\r\nHost: shop\r\n\r\n",
        b"PURGE /x HTTP/1.1\r\nHost: shop\r\nX: \xc3\xa9\r\n\r\n",
    ],
)
def test_a_whole_head_is_one_with_its_last_byte(head):
    assert [is_request_head(head[:size]) for size in range(1, len(head))] == [None] * (len(head) - 1)
    assert is_request_head(head) is True
    assert is_request_head(head + BINARY) is True


@pytest.mark.parametrize(
    "other",
    [
        BINARY,
        b"HTTP/1.1 200 OK\r\nServer: shop\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # without a Host, which 1.1 demands
        b'{"json": true}\r\n\r\n',
        b"\r\n" + HEAD,
        b"\x16\x03\x01",
    ],
)
def test_other_bytes_are_no_head(other):
    assert is_request_head(other) is False


def test_of_no_bytes_nothing_can_be_told():
    assert is_request_head(b"") is None


def test_a_late_join_may_begin_with_a_request():
    seeker = BoundarySeeker(turn=True)

    assert seeker.receive_data(HEAD) == HEAD
    assert seeker.skipped == 0


def test_a_head_in_single_bytes_is_given_whole():
    seeker = BoundarySeeker(turn=True)

    found = [seeker.receive_data(HEAD[at : at + 1]) for at in range(len(HEAD))]

    assert found == [None] * (len(HEAD) - 1) + [HEAD]
    assert seeker.skipped == 0


def test_what_follows_a_head_in_the_same_piece_is_given_with_it():
    seeker = BoundarySeeker(turn=True)

    assert seeker.receive_data(POST[:10]) is None
    assert seeker.receive_data(POST[10:] + b"the body") == POST + b"the body"


def test_empty_pieces_change_nothing():
    seeker = BoundarySeeker(turn=True)

    assert seeker.receive_data(b"") is None
    assert seeker.receive_data(HEAD) == HEAD


def test_a_late_join_in_the_middle_of_a_body_waits_for_the_next_turn():
    seeker = BoundarySeeker(turn=True)

    assert seeker.receive_data(BINARY) is None
    assert seeker.receive_data(HEAD) is None  # pipelined, or part of the body: nobody can tell
    seeker.receive_turn()

    assert seeker.receive_data(HEAD) == HEAD
    assert seeker.skipped == len(BINARY) + len(HEAD)


def test_a_request_in_the_middle_of_a_turn_is_passed_over():
    seeker = BoundarySeeker(turn=False)

    assert seeker.receive_data(HEAD) is None
    assert seeker.receive_turn() is None
    assert seeker.skipped == len(HEAD)


def test_after_a_gap_only_a_turn_begins_a_request():
    seeker = BoundarySeeker(turn=True)
    seeker.receive_gap()

    assert seeker.receive_data(HEAD) is None
    seeker.receive_turn()
    assert seeker.receive_data(HEAD) == HEAD
    assert seeker.skipped == len(HEAD)


def test_a_gap_within_a_head_gives_up_that_head():
    seeker = BoundarySeeker(turn=True)

    assert seeker.receive_data(HEAD[:20]) is None
    seeker.receive_gap()
    assert seeker.receive_data(HEAD[30:]) is None
    assert seeker.receive_turn() is None

    assert seeker.skipped == 20 + len(HEAD) - 30


def test_a_response_within_a_head_gives_up_that_head():
    seeker = BoundarySeeker(turn=True)

    assert seeker.receive_data(HEAD[:20]) is None
    seeker.receive_turn()
    assert seeker.skipped == 20
    assert seeker.receive_data(HEAD) == HEAD
    assert seeker.skipped == 20


def test_a_body_that_continues_after_100_continue_is_no_request():
    seeker = BoundarySeeker(turn=False)
    seeker.receive_turn()  # HTTP/1.1 100 Continue

    assert seeker.receive_data(BODY_WITH_A_REQUEST) is None
    seeker.receive_turn()  # HTTP/1.1 200 OK
    assert seeker.receive_data(HEAD) == HEAD

    assert seeker.skipped == len(BODY_WITH_A_REQUEST)


def test_a_body_without_line_ends_is_held_back_no_longer_than_its_turn():
    seeker = BoundarySeeker(turn=True)

    assert seeker.receive_data(b"no line end in here") is None
    assert seeker.skipped == 0
    seeker.receive_turn()
    assert seeker.skipped == 19


def test_a_request_in_a_body_is_passed_over_wherever_the_body_is_cut():
    for cut in range(len(BODY_WITH_A_REQUEST) + 1):
        seeker = BoundarySeeker(turn=True)

        assert seeker.receive_data(BODY_WITH_A_REQUEST[:cut]) is None
        assert seeker.receive_data(BODY_WITH_A_REQUEST[cut:]) is None
        seeker.receive_turn()
        assert seeker.skipped == len(BODY_WITH_A_REQUEST)


def test_a_head_of_the_greatest_length_is_found():
    head = head_of(MAX_HEAD_BYTES)
    seeker = BoundarySeeker(turn=True)

    assert seeker.receive_data(head[:-1]) is None
    assert seeker.receive_data(head[-1:]) == head


def test_bytes_without_an_end_are_held_up_to_the_limit_and_then_skipped():
    seeker = BoundarySeeker(turn=True)
    beginning = head_of(2 * MAX_HEAD_BYTES)

    assert seeker.receive_data(beginning[:MAX_HEAD_BYTES]) is None
    assert seeker.skipped == 0
    assert seeker.receive_data(beginning[MAX_HEAD_BYTES : MAX_HEAD_BYTES + 1]) is None
    assert seeker.skipped == MAX_HEAD_BYTES + 1


@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_a_head_over_the_limit_is_none_in_however_many_pieces(pieces):
    head = head_of(MAX_HEAD_BYTES + 1)
    size = -(-len(head) // pieces)
    seeker = BoundarySeeker(turn=True)

    found = [seeker.receive_data(head[at : at + size]) is not None for at in range(0, len(head), size)]

    assert found == [False] * pieces
    assert seeker.skipped == len(head)


@dataclass(frozen=True)
class Turn:
    """The responder said something."""


@dataclass(frozen=True)
class Gap:
    """Bytes are missing."""


pieces = st.one_of(
    st.binary(max_size=30),
    st.sampled_from([HEAD, POST, HEAD[:20], HEAD[20:], BODY_WITH_A_REQUEST, b"GET ", b"\r\n\r\n"]),
    st.just(Turn()),
    st.just(Gap()),
)


@given(st.booleans(), st.lists(pieces, max_size=20))
def test_every_byte_is_skipped_found_or_held(turn, events):
    seeker = BoundarySeeker(turn=turn)
    given_bytes = 0
    found = None
    for event in events:
        match event:
            case Turn():
                found = seeker.receive_turn()
            case Gap():
                seeker.receive_gap()
            case _:
                given_bytes += len(event)
                found = seeker.receive_data(event)
        if found is not None:
            break
        assert 0 <= given_bytes - seeker.skipped <= MAX_HEAD_BYTES
    if found is None:
        found = seeker.receive_turn()  # lets go of what is held

    assert seeker.skipped + len(found or b"") == given_bytes
    if found is not None:
        assert is_request_head(found)


@given(st.data())
def test_the_next_request_is_found_in_any_cutting(data):
    """A body's remainder, the responder's turn, then a request: its bytes come out as they went in."""
    remainder = data.draw(st.sampled_from([b"", BINARY, BODY_WITH_A_REQUEST, b"text", HEAD]))
    request = POST + b"x" * 100
    cuts = sorted(data.draw(st.lists(st.integers(0, len(request)), max_size=6)))
    bounds = [0, *cuts, len(request)]
    seeker = BoundarySeeker(turn=False)

    assert seeker.receive_data(remainder) is None
    seeker.receive_turn()
    received = b""
    flowing = False
    for start, end in itertools.pairwise(bounds):
        if start == end:
            continue  # the agent sends no empty pieces
        piece = request[start:end]
        if flowing:
            received += piece
        elif (found := seeker.receive_data(piece)) is not None:
            received, flowing = found, True

    assert received == request
    assert seeker.skipped == len(remainder)
