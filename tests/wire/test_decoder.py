import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podmirror_wire.codec import HEADER, MAX_FRAME_BYTES
from podmirror_wire.decoder import Decoder
from podmirror_wire.errors import FrameTooLarge, MalformedFrame, ProtocolError
from podmirror_wire.frames import KINDS, Goodbye, Ping
from tests.fuzzing import examples
from tests.wire import strategies

PING = Ping(1, 2)


@settings(max_examples=examples(50))
@given(st.lists(strategies.frames, max_size=6))
def test_frames_arrive_one_byte_at_a_time(frames):
    decoder = Decoder()
    received = []

    for byte in b"".join(frame.encode() for frame in frames):
        received += decoder.receive_data(bytes((byte,)))

    assert received == frames


@settings(max_examples=examples(50))
@given(st.lists(strategies.frames, max_size=6), st.data())
def test_frames_arrive_in_any_pieces(frames, data):
    stream = b"".join(frame.encode() for frame in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    decoder = Decoder()
    received = []

    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        received += decoder.receive_data(stream[start:end])

    assert received == frames
    assert decoder.received == len(stream)


def test_a_frame_is_given_with_its_last_byte_and_not_before():
    encoded = PING.encode()
    decoder = Decoder()

    assert decoder.receive_data(encoded[:-1]) == []
    assert decoder.receive_data(encoded[-1:]) == [PING]


def test_trailing_bytes_wait_for_the_rest_of_their_frame():
    first, second = Goodbye("a").encode(), PING.encode()
    decoder = Decoder()

    assert decoder.receive_data(first + second[:3]) == [Goodbye("a")]
    assert decoder.received == len(first)
    assert decoder.receive_data(second[3:]) == [PING]
    assert decoder.received == len(first) + len(second)


@settings(max_examples=examples(50))
@given(st.lists(strategies.frames, max_size=6))
def test_frames_can_be_taken_one_at_a_time(frames):
    decoder = Decoder()
    stream = b"".join(frame.encode() for frame in frames)
    taken = [decoder.receive_one(stream)]
    counts = [decoder.received]

    while taken[-1] is not None:
        taken.append(decoder.receive_one())
        counts.append(decoder.received)

    assert taken == [*frames, None]
    assert counts == [len(b"".join(each.encode() for each in frames[: n + 1])) for n in range(len(taken))]


def test_what_stands_behind_a_frame_that_was_taken_comes_next():
    decoder = Decoder()

    assert decoder.receive_one(Goodbye("a").encode() + PING.encode() * 2) == Goodbye("a")
    assert decoder.receive_data(b"") == [PING, PING]


def test_no_bytes_are_no_frames():
    decoder = Decoder()

    assert decoder.receive_data(b"") == []
    assert decoder.received == 0


@given(strategies.unknown_kinds, st.binary(max_size=50))
def test_unknown_kinds_are_skipped_and_counted(kind, body):
    unknown = HEADER.pack(1 + len(body), kind) + body
    decoder = Decoder()

    assert decoder.receive_data(unknown + PING.encode() + unknown) == [PING]
    assert decoder.received == 2 * len(unknown) + len(PING.encode())


def test_frame_over_the_limit_is_refused_before_its_body_arrives():
    with pytest.raises(FrameTooLarge, match="a frame of 1048577 bytes is over the limit of 1048576"):
        Decoder().receive_data(HEADER.pack(MAX_FRAME_BYTES + 1, Goodbye.KIND))


def test_unknown_kind_over_the_limit_is_refused_too():
    with pytest.raises(FrameTooLarge):
        Decoder(max_frame_bytes=10).receive_data(HEADER.pack(11, 255))


def test_frame_at_the_limit_is_accepted():
    encoded = Goodbye("x" * 9).encode()

    assert Decoder(max_frame_bytes=10).receive_data(encoded) == [Goodbye("x" * 9)]
    with pytest.raises(FrameTooLarge):
        Decoder(max_frame_bytes=9).receive_data(encoded)


def test_frame_without_even_a_kind_is_malformed():
    with pytest.raises(MalformedFrame):
        Decoder().receive_data(bytes(5))


def feed(pieces):
    decoder = Decoder(max_frame_bytes=4096)
    try:
        for piece in pieces:
            decoder.receive_data(piece)
    except ProtocolError:
        pass


@given(st.lists(st.binary(max_size=100), max_size=5))
def test_arbitrary_bytes_raise_nothing_but_protocol_errors(pieces):
    feed(pieces)


@given(st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.binary(max_size=80)), max_size=5))
def test_arbitrary_bodies_raise_nothing_but_protocol_errors(frames):
    feed(struct.pack("!IB", 1 + len(body), kind) + body for kind, body in frames)


@given(strategies.frames, st.data())
def test_damaged_frames_raise_nothing_but_protocol_errors(frame, data):
    encoded = bytearray(frame.encode())
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] = data.draw(strategies.u8)

    feed([bytes(encoded)])
