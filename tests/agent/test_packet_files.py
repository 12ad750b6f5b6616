"""Captures from the world, reassembled by us and by Wireshark."""

import functools
import os
import random
import shutil
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from podmirror_agent.budget import Budget
from podmirror_agent.connections import ConnectionEvent, Connections
from podmirror_agent.packet import Way
from podmirror_agent.segment import ACK, RST, SYN, Segment, decode
from podmirror_wire.frames import Closed, Data, Gap, Opened
from podmirror_wire.values import Direction, Endpoint
from tests.wireshark import connections_of

FOLDER = os.environ.get("PODMIRROR_PCAPS")
SUFFIXES = (".pcap", ".pcapng", ".pcap.gz", ".pcapng.gz")
FILES = sorted(each for each in Path(FOLDER).iterdir() if each.name.endswith(SUFFIXES)) if FOLDER else []

pytestmark = pytest.mark.skipif(not FILES, reason="PODMIRROR_PCAPS names no folder with captures")
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)

INTERFACE = (1, "file")
LINK_ETHERNET = 1


@dataclass
class Rebuilt:
    """A connection as we rebuilt it."""

    opened: Opened
    streams: tuple[bytearray, bytearray] = field(default_factory=lambda: (bytearray(), bytearray()))
    gaps: list[Gap] = field(default_factory=list)

    @property
    def ends(self) -> tuple[tuple[str, int], tuple[str, int]]:
        return tuple(self.opened.initiator), tuple(self.opened.responder)


@functools.cache
def packets_of(path: Path) -> list[tuple[bytes, int]]:
    """Read the Ethernet packets of a capture file in the order of their times: the bytes, and the length on the wire.

    A file may hold them in another order; but an acknowledgment before what it acknowledges is evidence of a loss.
    """
    from scapy.utils import (
        RawPcapReader,
    )  # scapy takes a second to import; this opens pcapng and gzip as well

    read: list[tuple[tuple[int, int], bytes, int]] = []
    with RawPcapReader(str(path)) as reader:
        for packet, metadata in reader:
            if getattr(metadata, "linktype", getattr(reader, "linktype", None)) == LINK_ETHERNET:
                read.append((_time(metadata), packet, metadata.wirelen))
    return [(packet, wire_length) for _, packet, wire_length in sorted(read, key=lambda each: each[0])]


def _time(metadata: object) -> tuple[int, int]:
    """Give what sorts by time: seconds and their fraction of pcap, or the halves of pcapng's counter."""
    names = ("sec", "usec") if hasattr(metadata, "sec") else ("tshigh", "tslow")
    return tuple(getattr(metadata, name) or 0 for name in names)


def segments_of(packets: list[tuple[bytes, int]]) -> list[Segment]:
    decoded = (decode(memoryview(packet), wire_length) for packet, wire_length in packets)
    return [segment for segment in decoded if isinstance(segment, Segment)]


def responder_ports(segments: list[Segment]) -> frozenset[int]:
    """Where a SYN went, or else the lower port of the two."""
    syns = {each.destination_port for each in segments if each.flags & (SYN | ACK | RST) == SYN}
    known = [each for each in segments if {each.source_port, each.destination_port} & syns]
    others = [each for each in segments if each not in known]
    return frozenset(syns | {min(each.source_port, each.destination_port) for each in others})


def rebuild(segments: list[Segment]) -> tuple[list[Rebuilt], list[ConnectionEvent], Budget]:
    budget = Budget(64 << 20)
    connections = Connections(budget)
    connections.subscribe(responder_ports(segments))
    events: list[ConnectionEvent] = []
    for number, segment in enumerate(segments):
        events += connections.receive_segment(segment, Way.EITHER, INTERFACE, number, 0.0)
    rebuilt: dict[int, Rebuilt] = {}
    for event in events:
        match event:
            case Opened():
                rebuilt[event.connection] = Rebuilt(event)
            case Data():
                stream = rebuilt[event.connection].streams[event.direction]
                missing = sum(
                    gap.length
                    for gap in rebuilt[event.connection].gaps
                    if gap.direction is event.direction and gap.offset < event.offset
                )
                assert len(stream) + missing == event.offset
                stream += event.payload
            case Gap():
                rebuilt[event.connection].gaps.append(event)
    connections.subscribe(frozenset())
    return list(rebuilt.values()), events, budget


@each_file
def test_capture_holds_connections_that_are_found(path):
    segments = segments_of(packets_of(path))
    rebuilt, events, budget = rebuild(segments)

    assert budget.held == 0
    if any(each.length for each in segments):
        assert rebuilt
    assert [each.connection for each in events if isinstance(each, Closed)] == list(
        dict.fromkeys(each.connection for each in events if isinstance(each, Closed))
    ), "a connection is closed once"


@each_file
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_wireshark_rebuilds_the_same_bytes(path):
    rebuilt, _, _ = rebuild(segments_of(packets_of(path)))
    theirs = connections_of(str(path))
    positions: dict[frozenset[str], int] = defaultdict(int)

    for ours in rebuilt:
        initiator, responder = (str(Endpoint(*end)) for end in ours.ends)
        ends = frozenset((initiator, responder))
        position = positions[ends]
        positions[ends] += 1
        if ours.gaps or ours.opened.late:
            continue
        said = theirs[ends][position]
        assert bytes(ours.streams[Direction.TO_RESPONDER]) == said[initiator]
        assert bytes(ours.streams[Direction.TO_INITIATOR]) == said[responder]


@each_file
def test_order_of_packets_that_a_card_may_change_changes_nothing(path):
    """Data segments of one direction swapped in pairs: the bytes are the same."""
    segments = segments_of(packets_of(path))
    swapped = list(segments)
    for index in range(0, len(swapped) - 1, 2):
        first, second = swapped[index], swapped[index + 1]
        same_way = (first.source, first.source_port, first.destination_port) == (
            second.source,
            second.source_port,
            second.destination_port,
        )
        if (
            same_way
            and not (first.flags | second.flags) & (SYN | RST)
            and first.acknowledgment == second.acknowledgment
        ):
            swapped[index], swapped[index + 1] = second, first
    straight, _, _ = rebuild(segments)
    if any(each.opened.late for each in straight):
        pytest.skip("where a late join begins depends on the order")

    crossed, _, _ = rebuild(swapped)

    assert [each.streams for each in crossed] == [each.streams for each in straight]


@each_file
@pytest.mark.parametrize("seed", range(3))
def test_damaged_captures_never_raise(path, seed):
    chance = random.Random(f"{path.name} {seed}")
    damaged: list[tuple[bytes, int]] = []
    for packet, wire_length in packets_of(path):
        changed = bytearray(packet)
        match chance.randrange(8):
            case 0:
                continue  # lost
            case 1:
                damaged.append((packet, wire_length))  # twice
            case 2:
                del changed[chance.randrange(len(changed)) :]
            case 3 | 4:
                for _ in range(chance.randrange(1, 4)):
                    changed[chance.randrange(min(len(changed), 80))] = chance.randrange(256)
            case _:
                pass
        damaged.append((bytes(changed), wire_length))
    if seed:
        chance.shuffle(damaged)

    _, _, budget = rebuild(segments_of(damaged))

    assert budget.held == 0
