"""Packets into a file, or into one file after another.

What is written is whole blocks, so that the file is valid at any time, whatever ends the writing: where the disk is full, the
part of a block that found room is taken back.
"""

import os
from collections import deque
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from podmirror.errors import NotStarted, OutputLost
from podmirror.pcapng import Section, is_packet
from podmirror_wire.frames import Interface, Packet

BUFFER_BYTES = 256 * 1024
"""Blocks are collected up to so much, since a system call for each would take longer than all else about a packet."""

_ROOM_BYTES = 512
"""What a packet takes in a file besides its bytes, and the statistics of a few interfaces, rounded up."""

MODE = 0o600
"""Of files: they hold what was said in a pod."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """When to go on in another file."""

    size: int | None = None
    """Bytes that a file has at most, if it holds more than one packet."""
    seconds: float | None = None
    """For which a file is written."""
    keep: int | None = None
    """Files that stay; None for all."""

    @property
    def wanted(self) -> bool:
        """Whether there is more than one file."""
        return self.size is not None or self.seconds is not None


class BlockFile:
    """A file of whole blocks."""

    def __init__(self, name: str, descriptor: int) -> None:
        """Write to an open file behind what it holds, and close it at the end."""
        self._name = name
        self._descriptor = descriptor
        self._blocks: list[bytes] = []
        self._buffered = 0
        self.size = 0
        """Bytes that were written here, or wait to be."""
        self.unwritten = 0
        """Packets that found no room."""
        self.failed = False
        """Whether nothing can be written any more."""

    def append(self, block: bytes) -> None:
        """Write a block, soon.

        Raises:
            OutputLost: It cannot be written, nor any more after it.
        """
        self._blocks.append(block)
        self._buffered += len(block)
        self.size += len(block)
        if self._buffered >= BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what was collected.

        Raises:
            OutputLost: It cannot be written; the file is closed then, behind its last whole block.
        """
        blocks, self._blocks, self._buffered = self._blocks, [], 0
        rest = memoryview(b"".join(blocks))
        total = len(rest)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            self._count_unwritten(blocks, total - len(rest))
            whole = self._take_back(blocks, total - len(rest))
            os.close(self._descriptor)
            self.failed = True
            end = "; what it holds up to there is whole" if whole else ""
            raise OutputLost(
                f"packets cannot be written to {self._name} any more: {error.strerror}{end}"
            ) from error

    def close(self) -> None:
        """Write what was collected, and close the file.

        Raises:
            OutputLost: It cannot be written.
        """
        self.flush()
        os.close(self._descriptor)

    def _count_unwritten(self, blocks: list[bytes], written: int) -> None:
        ends = accumulate(map(len, blocks))
        self.unwritten = sum(
            is_packet(block) for block, end in zip(blocks, ends, strict=True) if end > written
        )

    def _take_back(self, blocks: list[bytes], written: int) -> bool:
        """Shorten the file to the last block that is whole, of those of which so many bytes were written; whether it is one."""
        whole = max((end for end in accumulate(map(len, blocks)) if end <= written), default=0)
        try:
            end = os.lseek(self._descriptor, 0, os.SEEK_CUR)
            os.ftruncate(self._descriptor, end - (written - whole))
            os.lseek(self._descriptor, 0, os.SEEK_END)
        except OSError:  # a pipe, or a device
            return False
        return True


class PacketFiles:
    """Where `-w FILE` leads: one file, or files in turn with running numbers."""

    def __init__(self, path: Path, section: Section, rotation: Rotation) -> None:
        """Begin the first file.

        Raises:
            NotStarted: It cannot be made.
        """
        self._path = path
        self._section = section
        self._rotation = rotation
        self._number = 0
        self._names: deque[Path] = deque()
        self._earlier_packets = 0
        self._since = 0.0
        """When the file's first packet came, monotonic seconds."""
        self._first_pod_times: dict[str, int] = {}
        """When the file's first packet of each pod was captured: a file that is read has a pace of its own, a pod a clock."""
        self._file: BlockFile | None = None
        try:
            self._begin()
        except OutputLost as error:
            raise NotStarted(str(error)) from error

    @property
    def packets(self) -> int:
        """Packets that were written."""
        return self._earlier_packets + self._section.packets - self.unwritten

    @property
    def unwritten(self) -> int:
        """Packets that were taken, and could not be written."""
        return self._file.unwritten if self._file is not None else 0

    @property
    def where(self) -> str:
        """What was written to, in words."""
        if not self._rotation.wanted:
            return str(self._path)
        last = self._names[-1]
        return f"{self._number} files, the last of which is {last}" if self._number > 1 else str(last)

    def has_room(self, size: int) -> bool:  # noqa: ARG002  # as a pipe's
        """Whether a block of that size is taken now: always, for a file is written at once."""
        return True

    def receive_interface(self, pod: str, interface: Interface) -> None:
        """Describe an interface.

        Raises:
            OutputLost: Nothing can be written any more.
        """
        block = self._section.receive_interface(pod, interface)
        if block and self._file is not None:
            self._file.append(block)

    def receive_packet(self, pod: str, packet: Packet, now: float, missing: int = 0) -> None:
        """Write a packet; `missing` are not here before it.

        Raises:
            OutputLost: Nothing can be written any more.
        """
        first = self._first_pod_times.setdefault(pod, packet.pod_time)
        if self._is_full(len(packet.packet), max(now - self._since, (packet.pod_time - first) / 1e9)):
            self._end()
        file = self._file or self._begin()
        if not self._section.packets:
            self._since, self._first_pod_times = now, {pod: packet.pod_time}
        file.append(self._section.receive_packet(pod, packet, missing))

    def tick(self, now: float) -> None:
        """Let what was written be seen, and end a file whose time is over.

        Raises:
            OutputLost: Nothing can be written any more.
        """
        if self._is_full(0, now - self._since):
            self._end()
        elif self._file is not None:
            self._file.flush()

    async def close(self) -> None:
        """End the last file.

        Raises:
            OutputLost: Its end cannot be written.
        """
        if self._file is not None and not self._file.failed:
            self._end()

    def _is_full(self, more: int, age: float) -> bool:
        """Whether the file, so many seconds old, ends before the next packet, of so many bytes; without one it does not."""
        rotation = self._rotation
        if self._file is None or not self._section.packets:
            return False
        if rotation.size is not None and more and self._file.size + more + _ROOM_BYTES > rotation.size:
            return True
        return rotation.seconds is not None and age >= rotation.seconds

    def _begin(self) -> BlockFile:
        self._number += 1
        path = self._path
        if self._rotation.wanted:
            path = path.with_name(f"{path.stem}-{self._number:05}{path.suffix}")
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, MODE)
        except OSError as error:
            raise OutputLost(f"packets cannot be written to {path}: {error.strerror}") from error
        self._names.append(path)
        while self._rotation.keep is not None and len(self._names) > self._rotation.keep:
            self._names.popleft().unlink(missing_ok=True)
        self._file = BlockFile(str(path), descriptor)
        self._file.append(self._section.begin())
        self._file.flush()
        return self._file

    def _end(self) -> None:
        assert self._file is not None, "only a file that was begun is ended"
        self._file.append(self._section.end())
        self._file.close()
        self._file = None
        self._earlier_packets += self._section.packets
        self._section = self._section.following()
