import pytest
from hypothesis import given
from hypothesis import strategies as st

from podmirror_wire.codec import HEADER, MAX_FRAME_BYTES
from podmirror_wire.errors import FrameTooLarge, MalformedFrame
from podmirror_wire.frames import (
    KINDS,
    Closed,
    Data,
    Gap,
    Goodbye,
    Ledger,
    Opened,
    Options,
    Ping,
    Subscribe,
)
from podmirror_wire.values import Direction


def test_header_is_a_length_of_32_bits_and_a_kind_of_8():
    assert HEADER.pack(0x01020304, 0x05) == bytes.fromhex("0102030405")


def test_largest_frame_is_one_mebibyte():
    assert MAX_FRAME_BYTES == 1_048_576


def test_largest_frame_encodes_and_one_more_byte_does_not():
    room = MAX_FRAME_BYTES - 1 - Data.FIXED.size
    largest = Data(1, Direction.TO_RESPONDER, 0, bytes(room))

    assert len(largest.encode()) == 4 + MAX_FRAME_BYTES
    with pytest.raises(FrameTooLarge, match="Data of 1048577 bytes is over the limit of 1048576"):
        Data(1, Direction.TO_RESPONDER, 0, bytes(room + 1)).encode()


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.__name__)
def test_body_that_is_cut_short_in_its_fixed_part_is_malformed(kind):
    for length in range(kind.FIXED.size):
        with pytest.raises(MalformedFrame):
            kind.decode_body(bytes(length))


@pytest.mark.parametrize("kind", [Ping, Subscribe, Closed, Gap], ids=lambda kind: kind.__name__)
def test_body_without_a_tail_has_no_byte_too_many(kind):
    with pytest.raises(MalformedFrame):
        kind.decode_body(bytes(kind.FIXED.size + 1))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        pytest.param(Data, bytes(8) + b"\x02" + bytes(8), id="direction 2"),
        pytest.param(Closed, bytes(8) + b"\x0b" + bytes(8), id="close reason 11"),
        pytest.param(Gap, bytes(8) + b"\x00" + bytes(16) + b"\x03", id="gap reason 3"),
        pytest.param(Goodbye, b"\xff", id="text that is no UTF-8"),
        pytest.param(Opened, bytes(Opened.FIXED.size) + b"\xc3", id="text that ends within a character"),
        pytest.param(Ledger, b"\x04gap", id="name that runs past the end"),
        pytest.param(Ledger, b"\x04gaps\x00\x00\x00\x00\x00\x00\x00", id="count one byte short"),
        pytest.param(Ledger, b"\x01\xff" + bytes(8), id="name that is no UTF-8"),
        pytest.param(Options, b"\x01a\x00", id="length of a text one byte short"),
        pytest.param(Options, b"\x01a\x00\x02b", id="text that runs past the end"),
        pytest.param(Options, b"\x01a\x00\x01\xff", id="setting that is no UTF-8"),
    ],
)
def test_value_that_its_field_does_not_admit_is_malformed(kind, body):
    with pytest.raises(MalformedFrame):
        kind.decode_body(body)


@given(kind=st.sampled_from(list(KINDS.values())), body=st.binary(max_size=120))
def test_any_body_decodes_or_is_malformed(kind, body):
    try:
        frame = kind.decode_body(body)
    except MalformedFrame:
        return
    # A map may name a thing twice and a bool may be any byte; the decoded frame says it once and plainly.
    assert kind.decode_body(frame.encode()[HEADER.size :]) == frame


def test_empty_maps_and_empty_text():
    assert Ledger({}).encode() == bytes.fromhex("00000001 20")
    assert Options.decode_body(b"") == Options({})
    assert Goodbye.decode_body(b"") == Goodbye("")
