"""An initiator made of raw packets, at an address that no kernel owns: nobody answers in its place."""

import ipaddress
import select
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from podmirror_agent.segment import ACK, PSH, RST, SYN, Segment, decode
from tests.namespaces import CLIENT_MAC, TARGET_MAC, TARGET_V4, TARGET_V6, Namespaces, ip

RAW_V4, RAW_V6 = "10.123.0.77", "fd00:123::77"
URG = 0x20
WINDOW = 0xFFFF


def introduce(made: Namespaces) -> None:
    """Let the target send what is for the raw peer to the client's interface, where no kernel takes it."""
    for address in (RAW_V4, RAW_V6):
        entry = (address, "lladdr", CLIENT_MAC, "dev", "eth0", "nud", "permanent")
        ip("-n", made.target.name, "neighbour", "replace", *entry)


def checksum(data: bytes) -> int:
    """The Internet's checksum (RFC 1071)."""
    padded = data + bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@dataclass
class RawPeer:
    """One connection of the raw peer with a port of the target. Offsets count from the byte behind the SYN."""

    made: Namespaces
    port: int
    """Of the target."""
    own_port: int
    family: int = 4
    initial: int = 0xFFFFFF80
    """Sequence number of the SYN: the numbers wrap soon."""

    def __post_init__(self) -> None:
        self.socket = self.made.run_in(
            self.made.client, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        )
        self.socket.bind(("eth0", 0x0003))
        own, target = (RAW_V4, TARGET_V4) if self.family == 4 else (RAW_V6, TARGET_V6)
        self.own, self.target = ipaddress.ip_address(own).packed, ipaddress.ip_address(target).packed
        macs = [bytes.fromhex(each.replace(":", "")) for each in (TARGET_MAC, CLIENT_MAC)]
        self.ethernet = macs[0] + macs[1] + (b"\x08\x00" if self.family == 4 else b"\x86\xdd")
        self.acknowledgment = 0
        self.heard = b""
        """What the target said, in order."""
        self.identification = self.own_port

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def handshake(self) -> None:
        self.send(-1, flags=SYN)
        answer = self.receive(lambda segment: bool(segment.flags & SYN))
        self.acknowledgment = (answer.sequence + 1) & 0xFFFFFFFF
        self.send(0)

    def send(
        self,
        offset: int,
        payload: bytes = b"",
        *,
        flags: int = ACK,
        acknowledgment: int | None = None,
        urgent: int = 0,
        fragments: int = 0,
    ) -> None:
        """Send a segment; with `fragments`, in IP fragments of so many bytes."""
        segment = self._tcp(offset, payload, flags, acknowledgment, urgent)
        self.identification = (self.identification + 1) & 0xFFFF
        if not fragments:
            self.send_ip(segment)
            return
        for start in range(0, len(segment), fragments):
            self.send_fragment(segment, start, start + fragments)

    def send_fragment(self, segment: bytes, start: int, end: int) -> None:
        more = end < len(segment)
        self.send_ip(segment[start:end], place=start | more)

    def send_ip(self, payload: bytes, *, place: int | None = None) -> None:
        if self.family == 4:
            field = 0 if place is None else (place & 1) << 13 | place >> 3
            start = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), self.identification, field, 64, 6, 0)
            header = start + self.own + self.target
            header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
        else:
            following = 6 if place is None else 44
            if place is not None:
                payload = struct.pack("!BBHI", 6, 0, place, self.identification) + payload
            header = struct.pack("!IHBB", 6 << 28, len(payload), following, 64) + self.own + self.target
        self.socket.send(self.ethernet + header + payload)

    def segment(self, offset: int, payload: bytes) -> bytes:
        """Give a TCP segment for `send_fragment`; all fragments of one belong between two `send`."""
        self.identification = (self.identification + 1) & 0xFFFF
        return self._tcp(offset, payload, ACK | PSH, None, 0)

    def _tcp(self, offset: int, payload: bytes, flags: int, acknowledgment: int | None, urgent: int) -> bytes:
        number = self.acknowledgment if acknowledgment is None else acknowledgment
        fields = (
            self.own_port,
            self.port,
            (self.initial + 1 + offset) & 0xFFFFFFFF,
            number & 0xFFFFFFFF if flags & ACK else 0,
            5 << 4,
            flags,
            WINDOW,
        )
        pseudo = self.own + self.target + struct.pack("!HH", 6, 20 + len(payload))
        total = checksum(pseudo + struct.pack("!HHIIBBHHH", *fields, 0, urgent) + payload)
        return struct.pack("!HHIIBBHHH", *fields, total, urgent) + payload

    def receive(self, wanted: Callable[[Segment], bool], seconds: float = 20.0) -> Segment:
        """Wait for a segment from the target; those that come before are taken note of."""
        due = time.monotonic() + seconds
        while select.select([self.socket], [], [], max(due - time.monotonic(), 0))[0]:
            packet, address = self.socket.recvfrom(1 << 17)
            if address[2] == socket.PACKET_OUTGOING:
                continue
            segment = decode(memoryview(packet), len(packet))
            if not isinstance(segment, Segment) or segment.destination_port != self.own_port:
                continue
            if segment.length and segment.sequence == self.acknowledgment:
                self.heard += segment.payload
                self.acknowledgment = (self.acknowledgment + segment.length) & 0xFFFFFFFF
            if wanted(segment):
                return segment
        raise TimeoutError("the target did not say what was waited for")

    def wait_for_acknowledgment(self, offset: int) -> None:
        """Wait until the target has acknowledged everything before an offset."""
        number = (self.initial + 1 + offset) & 0xFFFFFFFF
        self.receive(lambda segment: bool(segment.flags & ACK) and segment.acknowledgment == number)

    def reset(self) -> None:
        self.send(0, flags=RST | ACK)
