"""A ring as the kernel fills it (TPACKET_V3, linux/if_packet.h), with packets of the test's own."""

import mmap
import socket
import struct

from podmirror_agent.mirror import Mirror
from podmirror_agent.packet import CapturedPacket, Way

MAC_OFFSET = 82
"""Where Linux begins Ethernet packets behind struct tpacket3_hdr and struct sockaddr_ll."""

SIZE = 1 << 20


class Ring:
    """Two blocks of a ring, read together, again and again."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, SIZE)
        self.view = memoryview(self.memory)
        self._packets: dict[int, CapturedPacket] = {}
        self.careful: list[CapturedPacket] = []
        """Packets that were asked for one by one."""

    def give(self, mirror: Mirror, packets: list[CapturedPacket], now: float) -> None:
        """Let the mirror read these packets, a half of them in each block; what it keeps of the ring is overwritten later."""
        self._packets.clear()
        half = len(packets) // 2
        blocks = [
            self._put_block(start, part)
            for start, part in ((SIZE // 2, packets[:half]), (0, packets[half:]))
            if part
        ]
        mirror.receive_blocks(self.memory, self.view, blocks, self._packet_at, now)

    def overwrite(self) -> None:
        """Do what the kernel does with a block that was given back."""
        self.memory[:] = b"\xee" * SIZE

    def _packet_at(self, position: int) -> CapturedPacket | None:
        self.careful.append(self._packets[position])
        return self._packets[position]

    def _put_block(self, start: int, packets: list[CapturedPacket]) -> tuple[int, int]:
        position = start
        for packet in packets:
            self._packets[position] = packet
            position += self._put(position, packet)
        return start, len(packets)

    def _put(self, position: int, packet: CapturedPacket) -> int:
        captured = len(packet.packet)
        following = MAC_OFFSET + captured + 15 & ~15
        outgoing = packet.way is Way.OUTGOING
        self.memory[position : position + 28] = struct.pack(
            "@IIIIIIHH",
            following,
            packet.pod_time // 10**9,
            packet.pod_time % 10**9,
            captured,
            packet.wire_length,
            1,
            MAC_OFFSET,
            MAC_OFFSET + 14,
        )
        ethertype = bytes(packet.packet[12:14]).ljust(2, b"\0")
        address = struct.pack("@H2siHB", socket.AF_PACKET, ethertype, packet.interface[0], 1, 4 * outgoing)
        self.memory[position + 48 : position + 48 + len(address)] = address
        start = position + MAC_OFFSET
        self.memory[start : start + captured] = bytes(packet.packet)
        return following
