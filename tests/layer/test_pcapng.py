"""pcapng as the Wireshark tools read it."""

from pathlib import Path

import pytest

from podmirror.pcapng import Origin, Section
from podmirror_wire.frames import Interface
from tests.layer.pcapngs import BYTES, ETH0, TIME, fields, information, needs_tshark, packet

pytestmark = needs_tshark
ORIGIN = Origin("podmirror 1.2.3", "x86_64", "Linux", "a comment", "tcp port 80", 262_144)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "made.pcapng"


def test_section_says_how_it_was_made(file):
    section = Section(ORIGIN)
    file.write_bytes(
        section.begin()
        + section.receive_interface("web", ETH0)
        + section.receive_packet("web", packet())
        + section.end()
    )

    said = information(file)

    for line in (
        "Capture hardware:    x86_64",
        "Capture oper-sys:    Linux",
        "Capture application: podmirror 1.2.3",
        "Capture comment:     a comment",
        "Name = web/eth0",
        "Description = eth0 of pod web",
        "Time precision = nanoseconds (9)",
        "Filter string = tcp port 80",
        "Number of stat entries = 1",
        "Number of packets = 1",
    ):
        assert line in said


def test_packet_keeps_its_time_and_its_lengths(file):
    section = Section(ORIGIN)
    file.write_bytes(
        section.begin()
        + section.receive_interface("web", ETH0)
        + section.receive_packet("web", packet(BYTES[:54], length=len(BYTES)))
    )

    (read,) = fields(file, "frame.time_epoch", "frame.len", "frame.cap_len", "frame.interface_name", "ip.src")

    assert read == (f"{TIME // 10**9}.{TIME % 10**9}", str(len(BYTES)), "54", "web/eth0", "10.0.0.1")


@pytest.mark.parametrize(
    ("packet_type", "direction", "reception"),
    [(0, "1", "1"), (1, "1", "3"), (2, "1", "2"), (3, "1", "4"), (4, "2", "0"), (255, "", "")],
    ids=["host", "broadcast", "multicast", "promiscuous", "outgoing", "unknown"],
)
def test_packet_says_which_way_it_went(file, packet_type, direction, reception):
    section = Section(ORIGIN)
    file.write_bytes(
        section.begin()
        + section.receive_interface("web", ETH0)
        + section.receive_packet("web", packet(packet_type=packet_type))
    )

    (read,) = fields(file, "frame.packet_flags_direction", "frame.packet_flags_reception_type")

    assert [int(value, 0) if value else value for value in read] == [
        int(each) if each else each for each in (direction, reception)
    ]


def test_drops_are_named_by_the_packet_behind_them(file):
    section = Section(ORIGIN)
    file.write_bytes(
        section.begin()
        + section.receive_interface("web", ETH0)
        + section.receive_packet("web", packet(drops=2), missing=3)
        + section.end()
    )

    assert fields(file, "frame.comment", "frame.drop_count") == [
        ("5 packets before this one are missing", "5")
    ]


def test_pods_stand_side_by_side(file):
    section = Section(ORIGIN)
    lo = Interface(1, 1, "lo")
    file.write_bytes(
        section.begin()
        + section.receive_interface("web-1", ETH0)
        + section.receive_packet("web-1", packet())
        + section.receive_interface("web-2", ETH0)
        + section.receive_interface("web-2", lo)
        + section.receive_packet("web-2", packet(interface=1))
        + section.receive_packet("web-1", packet())
        + section.end()
    )

    assert [name for (name,) in fields(file, "frame.interface_name")] == [
        "web-1/eth0",
        "web-2/lo",
        "web-1/eth0",
    ]
    assert "Number of interfaces in file: 3" in information(file)


def test_interface_is_described_once_and_again_when_it_is_another():
    section = Section(ORIGIN)
    section.receive_interface("web", ETH0)

    assert not section.receive_interface("web", ETH0)
    assert section.receive_interface("web", Interface(2, 101, "tun0"))


def test_file_is_valid_after_each_block(file):
    section = Section(ORIGIN)
    blocks = [
        section.begin(),
        section.receive_interface("web", ETH0),
        *(section.receive_packet("web", packet(BYTES + bytes(each), number=each)) for each in range(5)),
        section.end(),
    ]

    for end in range(2, len(blocks) + 1):
        file.write_bytes(b"".join(blocks[:end]))
        assert len(fields(file, "frame.number")) == min(end - 2, 5)


def test_following_section_knows_the_interfaces(file):
    first = Section(ORIGIN)
    first.receive_interface("web", ETH0)
    first.receive_packet("web", packet())

    section = first.following()
    file.write_bytes(section.begin() + section.receive_packet("web", packet()) + section.end())

    assert section.packets == 1
    assert fields(file, "frame.interface_name") == [("web/eth0",)]


def test_interface_of_a_file_without_a_name_has_none(file):
    section = Section(Origin("podmirror"))
    file.write_bytes(
        section.begin()
        + section.receive_interface("", Interface(2, 1, ""))
        + section.receive_packet("", packet())
    )

    assert "Name =" not in information(file)
