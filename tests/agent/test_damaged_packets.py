"""Packets cut short at every place, or with any byte changed: nothing raises or hangs, no budget stays held, no stream lies."""

import random
import time
from collections.abc import Iterator

import pytest

from podmirror_agent.budget import Budget
from podmirror_agent.connections import ConnectionEvent, Connections
from podmirror_agent.fragments import Fragments
from podmirror_agent.packet import Way
from podmirror_agent.segment import Fragment, Link, Segment, decode
from podmirror_wire.frames import Data, Gap, Opened
from podmirror_wire.values import Direction
from tests.agent import packets
from tests.agent.segments import EXTENSIONS

CLIENT, POD, PORT = ("10.0.0.1", "2001:db8::1"), ("10.0.0.2", "2001:db8::2"), 80
REQUEST, ANSWER = random.Random(1).randbytes(60), random.Random(2).randbytes(80)
SECONDS = 20.0
"""Of CPU time, for all the cuts of one conversation: a thousand times what they take."""

Captured = list[tuple[bytes, int]]
"""What was captured of each packet, and how long it was on the wire."""

VLAN = {"plain": b"", "802.1Q": b"\x81\x00\x00\x05", "QinQ": b"\x88\xa8\x00\x07\x81\x00\x00\x05"}


def conversation(
    family: int, *, tags: bytes = b"", extension: tuple[int, bytes] | None = None, cuts: int = 0
) -> Captured:
    """A request and its answer; with `cuts`, in IP fragments of so many bytes."""
    made: Captured = []
    client, pod = CLIENT[family == 6], POD[family == 6]

    def wrap(source: str, destination: str, payload: bytes) -> Iterator[bytes]:
        identification = len(made)
        if cuts and family == 4:
            for start in range(0, len(payload), cuts):
                more = 0x2000 if start + cuts < len(payload) else 0
                part = packets.ipv4(
                    source, destination, payload[start : start + cuts], fragment=more | start // 8
                )
                yield part[:4] + identification.to_bytes(2) + part[6:]
        elif cuts:
            for start in range(0, len(payload), cuts):
                place = start | (start + cuts < len(payload))
                header = bytes((6, 0)) + place.to_bytes(2) + identification.to_bytes(4)
                yield packets.ipv6(source, destination, header + payload[start : start + cuts], following=44)
        elif extension is not None:
            number, rest = extension
            yield packets.ipv6(source, destination, b"\x06" + rest + payload, following=number)
        else:
            yield (packets.ipv4 if family == 4 else packets.ipv6)(source, destination, payload)

    def say(from_client: bool, sequence: int, acknowledgment: int, flags: str, payload: bytes = b"") -> None:
        ports = (40_000, PORT) if from_client else (PORT, 40_000)
        segment = packets.tcp(
            *ports, sequence=sequence, acknowledgment=acknowledgment, flags=flags, payload=payload
        )
        ends = (client, pod) if from_client else (pod, client)
        for packet in wrap(*ends, packets.summed(segment, *ends)):
            frame = packets.ethernet(packet)
            frame = frame[:12] + tags + frame[12:]
            made.append((frame, len(frame)))

    say(True, 999, 0, "S")
    say(False, 4999, 1000, "SA")
    say(True, 1000, 5000, "A")
    say(True, 1000, 5000, "PA", REQUEST[:40])
    say(True, 1040, 5000, "PA", REQUEST[40:])
    say(False, 5000, 1060, "PA", ANSWER)
    say(True, 1060, 5080, "FA")
    say(False, 5080, 1061, "FA")
    say(True, 1061, 5081, "A")
    return made


CONVERSATIONS = {
    **{
        f"IPv{family}, {name}": conversation(family, tags=tags)
        for family in (4, 6)
        for name, tags in VLAN.items()
    },
    **{f"IPv6 with {name}": conversation(6, extension=header) for name, header in EXTENSIONS.items()},
    **{
        f"IPv{family} in fragments of {size}": conversation(family, cuts=size)
        for family in (4, 6)
        for size in (24, 48)
    },
}
each_conversation = pytest.mark.parametrize("name", CONVERSATIONS)


def reassemble(captured: Captured, link: Link = Link.ETHERNET) -> list[ConnectionEvent]:
    """Give the events, and see that in the end no budget is held."""
    budget = Budget(1 << 20)
    connections, fragments = Connections(budget), Fragments(budget)
    connections.subscribe(frozenset({PORT}))
    events: list[ConnectionEvent] = []
    for number, (packet, wire_length) in enumerate(captured):
        segment = decode(memoryview(packet), wire_length, link)
        if isinstance(segment, Fragment):
            segment = fragments.receive_fragment(segment, "eth0", float(number))
        if isinstance(segment, Segment):
            events += connections.receive_segment(segment, Way.EITHER, (1, "eth0"), number, float(number))
    events += connections.expire(1e6)
    fragments.expire(1e6)
    connections.subscribe(frozenset())
    assert budget.held == 0
    return events


def check(events: list[ConnectionEvent]) -> None:
    """Every byte that is told stands where it was sent, and what is missing before it is named."""
    late = {event.connection for event in events if isinstance(event, Opened) and event.late}
    positions: dict[tuple[int, Direction], int] = {}
    for event in events:
        if isinstance(event, Data | Gap) and event.connection not in late:
            place = (event.connection, event.direction)
            assert event.offset == positions.get(place, 0)
            length = event.length if isinstance(event, Gap) else len(event.payload)
            positions[place] = event.offset + length
            if isinstance(event, Data):
                truth = ANSWER if event.direction is Direction.TO_INITIATOR else REQUEST
                assert event.payload == truth[event.offset : event.offset + length]


@each_conversation
def test_the_whole_conversation_arrives(name: str) -> None:
    events = reassemble(CONVERSATIONS[name])

    check(events)
    told = b"".join(event.payload for event in events if isinstance(event, Data))
    assert told == REQUEST + ANSWER


@each_conversation
def test_one_packet_cut_at_every_place(name: str) -> None:
    captured = CONVERSATIONS[name]
    due = time.process_time() + SECONDS
    for index, (packet, wire_length) in enumerate(captured):
        for length in range(len(packet)):
            check(reassemble([*captured[:index], (packet[:length], wire_length), *captured[index + 1 :]]))
    assert time.process_time() < due


@each_conversation
def test_all_packets_cut_at_the_same_length(name: str) -> None:
    captured = CONVERSATIONS[name]
    for length in range(max(len(packet) for packet, _ in captured) + 1):
        check(reassemble([(packet[:length], wire_length) for packet, wire_length in captured]))


@each_conversation
def test_a_wire_length_that_lies(name: str) -> None:
    captured = CONVERSATIONS[name]
    for index, (packet, _) in enumerate(captured):
        for wire_length in (0, 1, 13, 14, 33, 34, 53, 54, 1 << 16, (1 << 31) - 1, (1 << 32) - 1):
            reassemble([*captured[:index], (packet, wire_length), *captured[index + 1 :]])


@each_conversation
def test_the_capture_ends_anywhere(name: str) -> None:
    captured = CONVERSATIONS[name]
    for end in range(len(captured)):
        check(reassemble(captured[:end]))
        check(reassemble(captured[end:]))


@each_conversation
def test_any_byte_changed_of_the_headers(name: str) -> None:
    captured = CONVERSATIONS[name]
    chance = random.Random(name)
    due = time.process_time() + SECONDS
    for index, (packet, wire_length) in enumerate(captured):
        for place in range(min(len(packet), 100)):
            for value in {0, 1, 0x7F, 0xFF, chance.randrange(256)}:
                changed = packet[:place] + bytes([value]) + packet[place + 1 :]
                reassemble([*captured[:index], (changed, wire_length), *captured[index + 1 :]])
    assert time.process_time() < due


@pytest.mark.parametrize("link", Link)
@each_conversation
def test_packets_of_another_link_than_they_are_said_to_be(name: str, link: Link) -> None:
    reassemble(CONVERSATIONS[name], link)
