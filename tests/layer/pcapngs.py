"""What the Wireshark tools say of a file, and packets to write."""

import shutil
import subprocess
from pathlib import Path

import pytest

from podmirror_wire.frames import Interface, Packet
from podmirror_wire.values import Direction
from tests.agent import packets

needs_tshark = pytest.mark.skipif(
    shutil.which("tshark") is None or shutil.which("capinfos") is None, reason="tshark is not installed"
)

ETH0 = Interface(2, 1, "eth0")
TIME = 1_700_000_000_123_456_789
BYTES = packets.ethernet(packets.ipv4(packets.CLIENT, packets.POD, packets.tcp(40000, 80, payload=b"GET /")))


def packet(
    data: bytes = BYTES,
    *,
    number: int = 0,
    packet_type: int = 0,
    length: int | None = None,
    drops: int = 0,
    interface: int = 2,
    place: tuple[int, Direction, int, int] = (0, Direction.TO_RESPONDER, 0, 0),
) -> Packet:
    length = len(data) if length is None else length
    return Packet(interface, packet_type, TIME + number * 1_000_000, length, drops, *place, data)


def fields(file: Path, *names: str, count: int | None = None) -> list[tuple[str, ...]]:
    """Give fields of each packet, as tshark reads them; any complaint of its fails the test."""
    wanted = [part for name in names for part in ("-e", name)]
    command = ["tshark", "-n", "-r", str(file), "-T", "fields", *wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    complaints = [line for line in done.stderr.splitlines() if not line.startswith("Running as user")]
    assert not complaints
    return [tuple(line.split("\t")) for line in done.stdout.splitlines()][:count]


def information(file: Path) -> str:
    """Give what capinfos says of a file; any complaint of its fails the test."""
    done = subprocess.run(["capinfos", str(file)], capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout
