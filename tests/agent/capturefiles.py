"""Capture files made byte by byte, from their specifications and not by the library that reads them here."""

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Stamped(NamedTuple):
    """A packet and its time, nanoseconds since 1970."""

    time: int
    packet: bytes
    wire_length: int | None = None


def pcap(packets: Iterable[Stamped], *, linktype: int = 1, nano: bool = False, order: str = "<") -> bytes:
    """A file as of draft-ietf-opsawg-pcap."""
    magic, unit = (0xA1B23C4D, 1) if nano else (0xA1B2C3D4, 1000)
    made = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, linktype)
    for time, packet, wire_length in packets:
        seconds, rest = divmod(time, 1_000_000_000)
        made += (
            struct.pack(order + "IIII", seconds, rest // unit, len(packet), wire_length or len(packet))
            + packet
        )
    return made


def pcapng(packets: Iterable[tuple[int, Stamped]], interfaces: list[tuple[str, int]]) -> bytes:
    """A file as of draft-ietf-opsawg-pcapng, in nanoseconds; packets with the number of their interface."""
    made = _block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    for name, linktype in interfaces:
        options = _option(2, name.encode()) + _option(9, b"\x09") + _option(0, b"")
        made += _block(1, struct.pack("<HHI", linktype, 0, 0) + options)
    for interface, (time, packet, wire_length) in packets:
        head = struct.pack(
            "<IIIII", interface, time >> 32, time & 0xFFFFFFFF, len(packet), wire_length or len(packet)
        )
        made += _block(6, head + packet + bytes(-len(packet) % 4))
    return made


def write(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def _block(kind: int, body: bytes) -> bytes:
    size = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + size + body + size


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)
