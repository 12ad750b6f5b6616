"""Capture files are read packet by packet, whatever their format, and damage is told and not fatal."""

import contextlib
import gzip
import io
import random
import struct
import sys

import pytest

from podmirror_agent.budget import Budget
from podmirror_agent.capturefile import CaptureFile, UnreadableCapture
from podmirror_agent.filesource import FileSource
from podmirror_agent.mirror import Mirror
from podmirror_agent.packet import CapturedPacket
from podmirror_agent.segment import Link, Segment, decode
from tests.agent import packets
from tests.agent.capturefiles import Stamped, pcap, pcapng, write
from tests.agent.packets import Talk

NOW = 1_700_000_000_123_456_000


def conversation() -> list[Stamped]:
    talk = Talk()
    segments = [
        *talk.handshake(),
        talk.says(b"GET / HTTP/1.1\r\n\r\n"),
        talk.answers(bytes(60_000)),
        talk.fin(),
    ]
    return [Stamped(NOW + i * 1_000_000, packets.encoded(each)) for i, each in enumerate(segments)]


def packets_of(path: str) -> tuple[CaptureFile, list[CapturedPacket]]:
    """Read a file, and give what is known of it afterwards, and its packets."""
    file = CaptureFile(path)
    with contextlib.closing(file):
        return file, list(file)


def read(path: str) -> list[tuple[int, bytes, int]]:
    _, found = packets_of(path)
    return [(each.pod_time, bytes(each.packet), each.wire_length) for each in found]


EXPECTED = [(each.time, each.packet, len(each.packet)) for each in conversation()]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nano", [False, True])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_pcap(tmp_path, order, nano, pack):
    path = write(tmp_path / "file", pack(pcap(conversation(), order=order, nano=nano)))

    assert read(path) == EXPECTED


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_pcapng(tmp_path, pack):
    made = pcapng([(i % 2, each) for i, each in enumerate(conversation())], [("eth0", 1), ("lo", 1)])
    file, found = packets_of(write(tmp_path / "file", pack(made)))

    assert [(each.pod_time, bytes(each.packet), each.wire_length) for each in found] == EXPECTED
    assert [each.interface[1] for each in found[:2]] == ["eth0", "lo"]
    assert file.damage == ""


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_standard_input(monkeypatch, pack):
    data = pack(pcap(conversation()))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(data))))

    assert read("-") == EXPECTED


def test_packets_a_little_out_of_order_are_put_in_order(tmp_path):
    shuffled = conversation()
    shuffled[2], shuffled[3] = shuffled[3], shuffled[2]

    assert read(write(tmp_path / "file", pcap(shuffled))) == EXPECTED


@pytest.mark.parametrize(
    ("linktype", "header", "link"),
    [
        (113, struct.pack("!HHH8sH", 0, 1, 6, bytes(8), 0x0800), Link.COOKED),
        (276, struct.pack("!HHIHBB8s", 0x0800, 0, 2, 1, 0, 6, bytes(8)), Link.COOKED_2),
        (0, struct.pack("<I", 2), Link.NULL),
        (101, b"", Link.RAW),
    ],
)
def test_links_that_tcpdump_writes(tmp_path, linktype, header, link):
    without_ethernet = [each._replace(packet=header + each.packet[14:]) for each in conversation()]
    _, found = packets_of(write(tmp_path / "file", pcap(without_ethernet, linktype=linktype)))
    segments = [decode(each.packet, each.wire_length, each.link) for each in found]

    assert all(isinstance(each, Segment) for each in segments)
    assert segments[3].payload == b"GET / HTTP/1.1\r\n\r\n"


def logged(packet: bytes) -> bytes:
    prefix = struct.pack("<HH5s3x", 9, 10, b"drop\0")
    return struct.pack("!BBH", 2, 0, 0) + prefix + struct.pack("<HH", 4 + len(packet), 9) + packet


@pytest.mark.parametrize(
    ("linktype", "framed"),
    [
        (9, lambda packet: b"\xff\x03\x00\x21" + packet),
        (104, lambda packet: b"\x0f\x00\x08\x00" + packet),
        (109, lambda packet: struct.pack("<III", 2, 0, 0) + packet),
        (239, logged),
    ],
)
def test_rare_links_are_read(tmp_path, linktype, framed):
    rare = [each._replace(packet=framed(each.packet[14:])) for each in conversation()]
    _, found = packets_of(write(tmp_path / "file", pcap(rare, linktype=linktype)))
    segments = [decode(each.packet, each.wire_length, each.link) for each in found]

    assert segments[3].payload == b"GET / HTTP/1.1\r\n\r\n"
    assert segments[4].length == 60_000


def test_an_ethernet_that_keeps_check_sequences_is_one(tmp_path):
    checked = [each._replace(packet=each.packet + b"\1\2\3\4") for each in conversation()]
    _, found = packets_of(write(tmp_path / "file", pcap(checked, linktype=1 | 1 << 26 | 4 << 28)))
    segments = [decode(each.packet, each.wire_length, each.link) for each in found]

    assert segments[3].payload == b"GET / HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize("data", [b"", b"\2\0\0\0", b"\2\0\0\0" + bytes(9), b"\2\0\0\0\xff\xff\x09\0"])
def test_a_damaged_log_of_the_firewall_is_no_packet(tmp_path, data):
    file, found = packets_of(write(tmp_path / "file", pcap([Stamped(NOW, data)], linktype=239)))

    assert (found, file.unknown_links) == ([], {239: 1})


def test_a_link_that_nobody_can_read_is_counted(tmp_path):
    file, found = packets_of(write(tmp_path / "file", pcap(conversation(), linktype=147)))

    assert found == []
    assert file.unknown_links == {147: len(EXPECTED)}


@pytest.mark.parametrize(
    "data", [b"", b"\x1f\x8b", b"GET / HTTP/1.1\r\n", pcap([])[:20], b"\x1f\x8b" + bytes(50)]
)
def test_what_is_no_capture_is_refused(tmp_path, data):
    path = write(tmp_path / "file", data)

    with pytest.raises(UnreadableCapture, match=f"^{path} cannot be read as pcap or pcapng: .+"):
        CaptureFile(path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UnreadableCapture, match="No such file or directory"):
        CaptureFile(str(tmp_path / "nothing"))


@pytest.mark.parametrize("make", [pcap, lambda each: pcapng([(0, one) for one in each], [("eth0", 1)])])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_file_that_is_cut_short_is_read_as_far_as_it_goes(tmp_path, make, pack):
    whole = make(conversation())
    data = pack(whole)[:-30] if pack is gzip.compress else whole[:-30]
    file, found = packets_of(write(tmp_path / "file", data))

    assert [bytes(each.packet) for each in found[:3]] == [packet for _, packet, _ in EXPECTED[:3]]
    assert file.damage


def test_a_length_beyond_reason_is_damage(tmp_path):
    whole = bytearray(pcapng([(0, each) for each in conversation()], [("eth0", 1)]))
    first = whole.index(struct.pack("<I", 6), 28 + 20)
    whole[first + 4 : first + 8] = b"\xff\xff\xff\x7f"
    file, found = packets_of(write(tmp_path / "file", bytes(whole)))

    assert found == []
    assert "longer than any packet" in file.damage


@pytest.mark.parametrize("seed", range(60))
def test_damaged_files_never_raise(tmp_path, seed):
    chance = random.Random(seed)
    whole = (
        pcap(conversation()) if seed % 2 else pcapng([(0, each) for each in conversation()], [("eth0", 1)])
    )
    damaged = bytearray(whole)
    for _ in range(chance.randrange(1, 6)):
        damaged[chance.randrange(min(len(damaged), 600))] = chance.randrange(256)
    try:
        _, found = packets_of(write(tmp_path / "file", bytes(damaged)))
    except UnreadableCapture:
        return
    for each in found:
        decode(each.packet, each.wire_length, each.link)


async def test_time_is_that_of_the_file_alone(tmp_path):
    """A file whose times begin at zero, as of a converter, is not old: its connections are not idle, and may yet be reset."""
    path = tmp_path / "zero.pcap"
    path.write_bytes(pcap([]))
    source = FileSource(str(path), Mirror(Budget(1 << 30)), speed=None, times=1, subscriptions=1)

    assert source.seen_until(40_000.0) == 0.0
    source.close()
