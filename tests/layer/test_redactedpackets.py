"""Redacted packets: filled from the connection's frames, in any order, and never with more than those hold."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podmirror.redactedpackets import RedactedPackets
from podmirror_wire.frames import AnyFrame, Closed, Data, Gap, Omitted, Opened, Packet
from podmirror_wire.values import CloseReason, Direction, Endpoint, GapReason
from tests.fuzzing import examples
from tests.layer.pcapngs import packet

TO_RESPONDER, TO_INITIATOR = Direction.TO_RESPONDER, Direction.TO_INITIATOR
HEADERS = bytes(range(54))


def opened(connection: int = 1) -> Opened:
    return Opened(connection, False, Endpoint("10.0.0.1", 40000), Endpoint("10.0.0.2", 80), 1, "eth0")


def closed(connection: int = 1) -> Closed:
    return Closed(connection, CloseReason.FINISHED, 0)


def cut(
    offset: int, payload: int, *, number: int = 0, connection: int = 1, direction: Direction = TO_RESPONDER
) -> Packet:
    place = (connection, direction, offset, payload)
    return packet(HEADERS, number=number, length=len(HEADERS) + payload, place=place)


def data(offset: int, payload: bytes, connection: int = 1) -> Data:
    return Data(connection, TO_RESPONDER, offset, payload)


def give(redacted: RedactedPackets, *frames: AnyFrame, now: float = 0.0) -> list[bytes]:
    """Give frames and packets, and return what of packets comes out behind the headers."""
    ready: list[Packet] = []
    for frame in frames:
        ready += (
            redacted.receive_packet(frame, now)
            if isinstance(frame, Packet)
            else redacted.receive_frame(frame, now)
        )
    return [each.packet[len(HEADERS) :] for each in ready]


def test_packet_waits_for_its_bytes():
    redacted = RedactedPackets()

    assert give(redacted, opened(), cut(0, 5)) == []
    assert give(redacted, data(0, b"GET")) == []
    assert give(redacted, data(3, b" /x")) == [b"GET /"]
    assert give(redacted, cut(5, 1)) == [b"x"]
    assert redacted.counts.filled == 2


def test_packet_that_comes_before_its_connection_waits():
    redacted = RedactedPackets()

    assert give(redacted, cut(0, 3)) == []
    assert give(redacted, opened(), data(0, b"GET")) == [b"GET"]


def test_packets_without_payload_pass_at_once():
    redacted = RedactedPackets()

    assert give(redacted, opened(), cut(0, 0), packet(HEADERS, length=100)) == [b"", b""]
    assert redacted.counts.others_cut == 1
    assert redacted.counts.cut == 0


def test_packets_keep_their_order():
    redacted = RedactedPackets()
    first, second = cut(0, 3, number=1), packet(HEADERS, number=2)

    assert give(redacted, opened(), first, second) == []
    ready = redacted.receive_frame(data(0, b"GET"), 0.0)

    assert [each.pod_time for each in ready] == [first.pod_time, second.pod_time]


def test_retransmission_is_filled_as_the_first():
    redacted = RedactedPackets()
    give(redacted, opened(), data(0, b"GET /"))

    assert give(redacted, cut(0, 5), cut(2, 3), cut(0, 5)) == [b"GET /", b"T /", b"GET /"]


@pytest.mark.parametrize(
    "left_out", [Omitted(1, TO_RESPONDER, 3, 4), Gap(1, TO_RESPONDER, 3, 4, GapReason.MISSED)]
)
def test_packet_stays_cut_where_bytes_are_left_out(left_out):
    redacted = RedactedPackets()

    assert give(redacted, opened(), cut(0, 10), data(0, b"GET"), left_out, data(7, b"end")) == [b"GET"]
    assert (redacted.counts.cut, redacted.counts.cut_bytes, redacted.counts.filled) == (1, 7, 0)
    assert give(redacted, cut(7, 3), cut(4, 2)) == [b"end", b""]


def test_end_of_a_connection_decides_what_waits():
    redacted = RedactedPackets()

    assert give(redacted, opened(), data(0, b"GET"), cut(0, 5), closed()) == [b"GET"]
    assert give(redacted, cut(0, 3)) == [b"GET"]


def test_directions_are_apart():
    redacted = RedactedPackets()

    assert give(redacted, opened(), data(0, b"GET"), cut(0, 3, direction=TO_INITIATOR)) == []
    assert give(redacted, Data(1, TO_INITIATOR, 0, b"200")) == [b"200"]


def test_no_packet_waits_for_longer_than_the_limit():
    redacted = RedactedPackets(wait_seconds=5)

    assert give(redacted, opened(), cut(0, 3), cut(3, 3), now=1.0) == []
    assert redacted.expire(5.9) == []
    assert [each.packet for each in redacted.expire(6.0)] == [HEADERS, HEADERS]
    assert redacted.counts.cut_bytes == 6


def test_packets_that_wait_are_bounded():
    redacted = RedactedPackets(max_waiting_bytes=10_000)
    give(redacted, opened())

    ready = give(redacted, *(cut(number, 1) for number in range(100)))

    assert len(ready) > 80
    assert redacted.held_bytes <= 10_000


def test_bytes_are_bounded():
    redacted = RedactedPackets(max_kept_bytes=10_000)
    give(redacted, opened(), *(data(1000 * number, bytes(1000)) for number in range(100)))

    assert redacted.held_bytes <= 10_000
    assert give(redacted, cut(99_000, 1000), cut(0, 1000)) == [bytes(1000), b""]


def test_everything_is_forgotten_in_time():
    redacted = RedactedPackets(keep_seconds=10)
    give(redacted, opened(), data(0, b"GET"), closed(), now=1.0)

    redacted.expire(11.0)

    assert redacted.held_bytes == 0
    assert not redacted._flows


def test_nothing_is_filled_beyond_the_snaplen():
    redacted = RedactedPackets(snaplen=len(HEADERS) + 2)

    assert give(redacted, opened(), data(0, b"GET"), cut(0, 3)) == [b"GE"]
    assert redacted.counts.cut == 0


def test_what_waits_at_the_end_is_given():
    redacted = RedactedPackets()
    give(redacted, opened(), data(0, b"GE"), cut(0, 3))

    assert [each.packet for each in redacted.finish()] == [HEADERS + b"GE"]


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, list[AnyFrame]]:
    """Draw a direction's redacted bytes, and the frames and packets of it in some order."""
    stream = draw(st.binary(min_size=1, max_size=60))
    frames: list[AnyFrame] = [opened()]
    at = 0
    while at < len(stream):
        size = draw(st.integers(1, len(stream) - at))
        kind = draw(st.sampled_from(["data", "data", "omitted", "gap"]))
        if kind == "data":
            frames.append(data(at, stream[at : at + size]))
        elif kind == "omitted":
            frames.append(Omitted(1, TO_RESPONDER, at, size))
        else:
            frames.append(Gap(1, TO_RESPONDER, at, size, GapReason.MISSED))
        at += size
    frames.append(closed())
    for number in range(draw(st.integers(0, 8))):
        offset = draw(st.integers(0, len(stream)))
        segment = cut(offset, draw(st.integers(0, len(stream) - offset + 3)), number=number)
        frames.insert(draw(st.integers(0, len(frames))), segment)
    return stream, frames


@given(conversation=conversations(), limit=st.sampled_from([700, 2000, 1 << 20]))
@settings(max_examples=examples(200), deadline=None)
def test_packets_hold_what_the_frames_hold_and_nothing_else(conversation, limit):
    _, frames = conversation
    told: dict[int, int] = {}
    for frame in frames:
        if isinstance(frame, Data):
            told |= {frame.offset + index: byte for index, byte in enumerate(frame.payload)}
    redacted = RedactedPackets(max_kept_bytes=limit, max_waiting_bytes=limit)

    given_packets = [frame for frame in frames if isinstance(frame, Packet)]
    ready: list[Packet] = []
    for frame in frames:
        ready += (
            redacted.receive_packet(frame, 0.0)
            if isinstance(frame, Packet)
            else redacted.receive_frame(frame, 0.0)
        )
        assert redacted.held_bytes <= 2 * limit + 1200
    ready += redacted.finish()

    assert [replace(each, packet=HEADERS) for each in ready] == given_packets
    for each in ready:
        filled = each.packet[len(HEADERS) :]
        assert len(filled) <= each.payload
        assert list(filled) == [told[each.offset + index] for index in range(len(filled))]
        following = each.offset + len(filled)
        if limit == 1 << 20 and len(filled) < each.payload:
            assert following not in told
    counts = redacted.counts
    assert counts.cut_bytes == sum(each.length - len(each.packet) for each in ready)
    assert counts.filled + counts.cut == sum(each.payload > 0 for each in ready)
