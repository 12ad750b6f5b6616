"""A program that carries Ethernet frames between two devices, more or less faithfully: see tests/wires.py.

Frames come and go with a virtio header (linux/virtio_net.h). An end with tags is a packet socket: the kernel has taken the
outer tag off what it gives, and gets frames with all tags. It prints its counts at SIGTERM.
"""

import contextlib
import heapq
import itertools
import json
import os
import random
import selectors
import signal
import socket
import struct
import sys
import time
from typing import Any

VIRTIO = struct.Struct("=BBHHHH")  # flags, GSO type, header length, GSO size, checksum start and offset
NEEDS_CHECKSUM = 1
AUXDATA_SPACE = socket.CMSG_SPACE(20)
MAX_FRAME = 128 * 1024


class End:
    """One of the two devices."""

    def __init__(self, descriptor: int, tags: list[dict[str, int]]) -> None:
        self.descriptor = descriptor
        self.socket = socket.socket(fileno=descriptor) if tags else None
        self.tags = b"".join(struct.pack("!HH", tag["ethertype"], tag["number"]) for tag in tags)

    def read(self) -> bytes:
        """Give a frame without its tags, nothing if there is none."""
        if self.socket is None:
            return os.read(self.descriptor, MAX_FRAME)
        frame, ancillary, _, _ = self.socket.recvmsg(MAX_FRAME, AUXDATA_SPACE)
        stripped = any(struct.unpack_from("=I16x", data)[0] & 0x10 for _, _, data in ancillary)  # VLAN_VALID
        left = len(self.tags) - 4 if stripped else len(self.tags)
        if not stripped or frame[22 : 22 + left] != self.tags[len(self.tags) - left :]:
            return b""  # not of this VLAN
        return _moved(frame, -left) + frame[10:22] + frame[22 + left :]

    def write(self, frame: bytes) -> None:
        if self.tags:
            frame = _moved(frame, len(self.tags)) + frame[10:22] + self.tags + frame[22:]
        os.write(self.descriptor, frame)


def _moved(frame: bytes, by: int) -> bytes:
    """The virtio header of a frame whose headers grow by so many bytes."""
    flags, kind, header, size, start, offset = VIRTIO.unpack_from(frame)
    if flags & NEEDS_CHECKSUM:
        start += by
    return VIRTIO.pack(flags, kind, header + by if header else 0, size, start, offset)


class Wire:
    """Frames on their way, and what became of them."""

    def __init__(self, seed: int) -> None:
        self.counts = dict.fromkeys(("carried", "lost", "repeated", "reordered", "refused"), 0)
        self._chance = random.Random(seed)
        self._numbers = itertools.count()
        self._waiting: list[tuple[float, int, End, bytes]] = []

    def take(self, frame: bytes, to: End, roughness: dict[str, float]) -> None:
        self.counts["carried"] += 1
        if self._chance.random() < roughness["loss"]:
            self.counts["lost"] += 1
            return
        copies = 1 + (self._chance.random() < roughness["repeat"])
        self.counts["repeated"] += copies - 1
        for _ in range(copies):
            due = time.monotonic() + roughness["delay"]
            if self._chance.random() < roughness["reorder"]:
                self.counts["reordered"] += 1
                due += self._chance.random() * (roughness["delay"] or 0.002)
            heapq.heappush(self._waiting, (due, next(self._numbers), to, frame))

    def give(self) -> None:
        """Let go of every frame whose time has come."""
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            _, _, to, frame = heapq.heappop(self._waiting)
            try:
                to.write(frame)
            except OSError:  # a full queue, or a device that is down
                self.counts["refused"] += 1

    def pause(self) -> float | None:
        """Give the seconds until a frame's time comes; None without any."""
        return max(self._waiting[0][0] - time.monotonic(), 0) if self._waiting else None


def main(settings: dict[str, Any]) -> None:
    ends = [End(*each) for each in zip(settings["descriptors"], settings["tags"], strict=True)]
    wire = Wire(settings["seed"])
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    wakeup, wakened = socket.socketpair()
    for each in (wakeup, wakened):
        each.setblocking(False)
    signal.set_wakeup_fd(wakened.fileno())
    selector = selectors.EpollSelector()
    selector.register(wakeup, selectors.EVENT_READ)
    for way, end in enumerate(ends):
        selector.register(
            end.descriptor, selectors.EVENT_READ, (end, ends[1 - way], settings["roughness"][way])
        )
    while not stopped:
        for key, _ in selector.select(wire.pause()):
            if key.data is not None:
                carry(wire, *key.data)
        wire.give()
    sys.stdout.write(json.dumps(wire.counts))


def carry(wire: Wire, source: End, to: End, roughness: dict[str, float]) -> None:
    with contextlib.suppress(BlockingIOError):
        for _ in range(64):
            frame = source.read()
            if frame:
                wire.take(frame, to, roughness)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
