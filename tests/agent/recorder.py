"""In place of a mirror: keeps every packet of the blocks that a capture gives it."""

import struct
from collections.abc import Callable
from mmap import mmap

from podmirror_agent.fastpath import Block
from podmirror_agent.packet import CapturedPacket


class Recorder:
    def __init__(self) -> None:
        self.packets: list[CapturedPacket] = []

    def receive_blocks(
        self,
        ring: mmap,
        view: memoryview,
        blocks: list[Block],
        packet_at: Callable[[int], CapturedPacket | None],
        now: float,
    ) -> None:
        for first, count in blocks:
            position = first
            for _ in range(count):
                packet = packet_at(position)
                if packet is not None:
                    self.packets.append(packet)
                position += struct.unpack_from("@I", ring, position)[0]
