"""The bytes of every frame, written out: a test that fails here means a new protocol version."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podmirror_wire.decoder import Decoder
from podmirror_wire.frames import (
    KINDS,
    MAGIC,
    MAX_DATA_BYTES,
    PROTOCOL_VERSION,
    Accepted,
    AnyFrame,
    Authenticate,
    Closed,
    Credit,
    Data,
    Digest,
    Dismiss,
    End,
    Ended,
    Examine,
    Findings,
    Frame,
    Gap,
    Goodbye,
    Greeting,
    Hello,
    Interface,
    Ledger,
    Omitted,
    Opened,
    Options,
    Packet,
    Ping,
    Pong,
    Proof,
    Received,
    Recognised,
    Refused,
    Resume,
    Resumed,
    Subscribe,
    Subscribed,
    Timed,
    Unsubscribe,
)
from podmirror_wire.values import CloseReason, Direction, Endpoint, GapReason
from tests.fuzzing import examples
from tests.wire import strategies

# Length, kind, then the fields in their order. Whitespace is for the reader only.
VECTORS: list[tuple[AnyFrame, str]] = [
    (Greeting(b"PODM", 1, "0.1.0"), "0000000b 01 504f444d 01 302e312e30"),
    (
        Hello(1, bytes(range(16)), "0.1.0"),
        "00000017 02 01 000102030405060708090a0b0c0d0e0f 302e312e30",
    ),
    (
        Proof(bytes(range(32))),
        "00000021 03 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
    ),
    (
        Authenticate(bytes(range(32, 64))),
        "00000021 04 202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f",
    ),
    (
        Accepted(bytes(range(16)), 0x17A1B2C3D4E5F607),
        "00000019 05 000102030405060708090a0b0c0d0e0f 17a1b2c3d4e5f607",
    ),
    (Refused(7, "né"), "00000008 06 00000007 6ec3a9"),
    (
        Options({"window": "65536", "é": ""}),
        "00000014 07 06 77696e646f77 0005 3635353336 02 c3a9 0000",
    ),
    (Subscribe(0x01020304, 8080), "00000007 08 01020304 1f90"),
    (Subscribed(1, 2), "0000000d 09 00000001 0000000000000002"),
    (Unsubscribe(0xFFFFFFFF), "00000005 0a ffffffff"),
    (Goodbye("bye"), "00000004 0b 627965"),
    (
        Opened(9, True, Endpoint("10.1.2.3", 40000), Endpoint("2001:db8::1", 80), 0x0102030405060708, "eth0"),
        "0000003a 10 0000000000000009 01"
        " 00000000000000000000ffff0a010203 9c40"
        " 20010db8000000000000000000000001 0050"
        " 0102030405060708 65746830",
    ),
    (
        Data(9, Direction.TO_INITIATOR, 0x100, b"GET"),
        "00000015 11 0000000000000009 01 0000000000000100 474554",
    ),
    (
        Omitted(9, Direction.TO_RESPONDER, 3, 5),
        "0000001a 12 0000000000000009 00 0000000000000003 0000000000000005",
    ),
    (
        Gap(9, Direction.TO_INITIATOR, 3, 5, GapReason.TRUNCATED),
        "0000001b 13 0000000000000009 01 0000000000000003 0000000000000005 02",
    ),
    (Ended(9, Direction.TO_INITIATOR, 8), "00000012 14 0000000000000009 01 0000000000000008"),
    (Closed(9, CloseReason.CUT, 11), "00000012 15 0000000000000009 04 000000000000000b"),
    (Credit(9, 65536), "0000000d 16 0000000000000009 00010000"),
    (Dismiss(9), "00000009 18 0000000000000009"),
    (Interface(2, 113, "eth0"), "0000000b 1b 00000002 0071 65746830"),
    (
        Packet(2, 4, 0x0102030405060708, 1514, 3, 9, Direction.TO_INITIATOR, 0x100, 1448, b"\xde\xad"),
        "0000002d 17 00000002 04 0102030405060708 000005ea 00000003"
        " 0000000000000009 01 0000000000000100 000005a8 dead",
    ),
    (
        Recognised(9, {"protocol": "TLS", "detail": ""}),
        "00000020 1c 0000000000000009 08 70726f746f636f6c 0003 544c53 06 64657461696c 0000",
    ),
    (Timed(9, 0x0102030405060708), "00000011 19 0000000000000009 0102030405060708"),
    (
        Digest(9, Direction.TO_INITIATOR, 5, bytes(range(32))),
        "00000032 1a 0000000000000009 01 0000000000000005 "
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
    ),
    (
        Ledger({"gaps": 1, "gap_bytes": 0x0102030405060708}),
        "00000020 20 04 67617073 0000000000000001 09 6761705f6279746573 0102030405060708",
    ),
    (Ping(1, 2), "00000011 21 0000000000000001 0000000000000002"),
    (Pong(1, 2, 3), "00000019 22 0000000000000001 0000000000000002 0000000000000003"),
    (Resume(bytes(range(16)), 5), "00000019 23 000102030405060708090a0b0c0d0e0f 0000000000000005"),
    (Resumed(5), "00000009 24 0000000000000005"),
    (Received(0x0102030405060708), "00000009 25 0102030405060708"),
    (End("clean"), "00000006 26 636c65616e"),
    (Examine(7), "00000005 27 00000007"),
    (Findings(7, {"cpu_ns": "12"}), "00000010 28 00000007 06 6370755f6e73 0002 3132"),
]


def named(vector: tuple[AnyFrame, str]) -> str:
    return type(vector[0]).__name__


@pytest.mark.parametrize("vector", VECTORS, ids=named)
def test_frame_encodes_to_its_vector(vector):
    frame, expected = vector

    assert frame.encode() == bytes.fromhex(expected)


@pytest.mark.parametrize("vector", VECTORS, ids=named)
def test_vector_decodes_to_its_frame(vector):
    frame, encoded = vector

    assert Decoder().receive_data(bytes.fromhex(encoded)) == [frame]


def test_every_kind_has_a_vector():
    assert {type(frame) for frame, _ in VECTORS} == set(KINDS.values())


def test_every_kind_has_a_number_of_its_own():
    assert {kind.__name__: number for number, kind in KINDS.items()} == {
        "Greeting": 1,
        "Hello": 2,
        "Proof": 3,
        "Authenticate": 4,
        "Accepted": 5,
        "Refused": 6,
        "Options": 7,
        "Subscribe": 8,
        "Subscribed": 9,
        "Unsubscribe": 10,
        "Goodbye": 11,
        "Opened": 16,
        "Data": 17,
        "Omitted": 18,
        "Gap": 19,
        "Ended": 20,
        "Closed": 21,
        "Credit": 22,
        "Dismiss": 24,
        "Packet": 23,
        "Timed": 25,
        "Digest": 26,
        "Recognised": 28,
        "Interface": 27,
        "Ledger": 32,
        "Ping": 33,
        "Pong": 34,
        "Resume": 35,
        "Resumed": 36,
        "Received": 37,
        "End": 38,
        "Examine": 39,
        "Findings": 40,
    }


def test_constants_of_the_protocol():
    assert (PROTOCOL_VERSION, MAGIC, MAX_DATA_BYTES) == (1, b"PODM", 262_144)


@pytest.mark.parametrize("kind", strategies.BY_CLASS, ids=lambda kind: kind.__name__)
@settings(max_examples=examples(15), deadline=None)
@given(data=st.data())
def test_round_trip(kind: type[Frame], data: st.DataObject):
    frame = data.draw(strategies.BY_CLASS[kind])

    (decoded,) = Decoder().receive_data(frame.encode())

    assert decoded == frame
    assert type(decoded) is kind


def test_enumerations_are_decoded_as_such():
    (gap,) = Decoder().receive_data(Gap(1, Direction.TO_INITIATOR, 0, 1, GapReason.BUDGET).encode())

    assert isinstance(gap, Gap)
    assert type(gap.direction) is Direction
    assert type(gap.reason) is GapReason


def test_strategies_cover_every_kind():
    assert set(strategies.BY_CLASS) == set(KINDS.values())


def test_frames_cannot_be_changed():
    with pytest.raises(AttributeError):
        Goodbye("a").reason = "b"  # type: ignore[misc]  # that it is frozen is the point
