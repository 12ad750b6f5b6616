"""A capture file in the place of a capture: the same packets, at the pace that they were captured at, or as fast as it goes.

Theory of operation. The file is read in a thread, a batch at a time, so that a slow disk or pipe stalls nothing; each batch
waits until it is due, and until what was made of the one before is on its way. So nothing is ever dropped here, and memory
stays bounded however slow the layer is. Time for `mirror` is the file's own.
"""

import asyncio
import os
from collections.abc import Callable, Iterator

from podmirror_agent.capturefile import CaptureFile, UnreadableCapture
from podmirror_agent.expressions import OfflineFilter
from podmirror_agent.mirror import Interest, Mirror
from podmirror_agent.packet import CapturedPacket
from podmirror_wire.values import CAPTURE_ENDED

BATCH_PACKETS = 128
BATCH_SECONDS = 0.005
"""Of the file's time in one batch, where it is paced: packets are late by no more than that."""

MAX_BACKLOG_BYTES = 1 << 20
"""Of what waits for the layer: the next batch waits while there is more. A quarter of what one connection may let wait."""

BACKLOG_SECONDS = 0.002
"""Between two looks at that."""


class FileSource:
    """Reads a file once or several times, from the moment that there are enough subscriptions."""

    def __init__(
        self, path: str, mirror: Mirror, *, speed: float | None, times: int, subscriptions: int
    ) -> None:
        """Open the file.

        Args:
            path: The file; `-` for the standard input.
            mirror: Given the packets.
            speed: How many times as fast as it was captured; None for as fast as it goes.
            times: How often it is read.
            subscriptions: How many ports there must be before it is read.

        Raises:
            UnreadableCapture: It is no capture file, or cannot be read.
        """
        self.on_end: Callable[[str], None] = _ignore
        """Told when the last packet was read, and nothing waits any more; and what was wrong with the file, if anything was."""
        self._path = path
        self._file = CaptureFile(path)
        self._mirror = mirror
        self._speed = speed
        self._times = times
        self._subscriptions = subscriptions
        self._wake_read, self._wake_write = os.pipe()
        self._batch: list[CapturedPacket] = []
        self._taken = asyncio.Event()
        self._filter: OfflineFilter | None = None
        self._now = 0.0
        self._pumping: asyncio.Task[None] | None = None

    def fileno(self) -> int:
        """Give the descriptor that turns readable when a batch is due."""
        return self._wake_read

    def set_interest(self, interest: Interest) -> None:
        """Begin to read when all subscriptions are there."""
        self._filter = OfflineFilter(interest.expression) if interest.expression else None
        if self._pumping is None and len(interest.ports) >= self._subscriptions:
            self._pumping = asyncio.create_task(self._pump(), name="read the file")

    def why_not(self, expression: str) -> str:
        """Say why packets cannot be filtered by a tcpdump expression; nothing if they can."""
        return OfflineFilter(expression).why_not()

    def read_into(self, mirror: Mirror, now: float) -> Iterator[int]:  # noqa: ARG002  # the file has a time of its own
        """Give the batch that is due to the mirror."""
        os.read(self._wake_read, 1)
        for packet in self._batch:
            if self._filter is not None and not self._filter.matches(packet):
                continue
            self._now = max(self._now, packet.pod_time / 1e9)
            mirror.expire(self._now)
            mirror.receive_packets((packet,), self._now)
        self._batch = []
        yield 0
        self._taken.set()

    def seen_until(self, now: float) -> float:  # noqa: ARG002  # as above
        """Give the time of the latest packet."""
        return self._now

    def drops(self) -> int:
        """Count nothing: a file drops no packets."""
        return 0

    def close(self) -> None:
        """Close the file."""
        if self._pumping is not None:
            self._pumping.cancel()
        os.close(self._wake_read)
        os.close(self._wake_write)
        self._file.close()

    async def _pump(self) -> None:
        damage = ""
        for time in range(self._times):
            try:
                self._open_again(time)
            except UnreadableCapture as error:
                damage = damage or str(error)
                break
            await self._read_once()
            damage = damage or _complaint(self._file)
            self._mirror.finish(self._now)
        await self._wait_for_backlog(0)
        self.on_end("; ".join(filter(None, (CAPTURE_ENDED, damage))))

    def _open_again(self, time: int) -> None:
        if time:
            self._file.close()
            self._file = CaptureFile(self._path)

    async def _wait_for_backlog(self, most: int) -> None:
        while self._mirror.backlog_bytes > most:  # noqa: ASYNC110  # many outboxes, and none that would tell
            await asyncio.sleep(BACKLOG_SECONDS)

    async def _read_once(self) -> None:
        loop = asyncio.get_running_loop()
        batches = _batches(self._file, paced=self._speed is not None, pipe=self._path == "-")
        begin: tuple[float, int] | None = None
        while batch := await loop.run_in_executor(None, next, batches, None):
            begin = begin or (loop.time(), batch[0].pod_time)
            if self._speed is not None:
                due = begin[0] + (batch[0].pod_time - begin[1]) / 1e9 / self._speed
                await asyncio.sleep(max(0.0, due - loop.time()))
            await self._wait_for_backlog(MAX_BACKLOG_BYTES)
            self._batch = batch
            self._taken.clear()
            os.write(self._wake_write, b"b")
            await self._taken.wait()


def _ignore(reason: str) -> None:
    """Tell nobody."""


def _batches(file: CaptureFile, *, paced: bool, pipe: bool) -> Iterator[list[CapturedPacket]]:
    most = 1 if pipe else BATCH_PACKETS  # who writes to a pipe may not write again for a while
    batch: list[CapturedPacket] = []
    for packet in file:
        late = paced and batch and packet.pod_time - batch[0].pod_time > BATCH_SECONDS * 1e9
        if late or len(batch) >= most:
            yield batch
            batch = []
        batch.append(packet)
    if batch:
        yield batch


def _complaint(file: CaptureFile) -> str:
    said = [f"damaged: {file.damage}"] if file.damage else []
    said += [
        f"{count} packets of link type {number} cannot be read"
        for number, count in file.unknown_links.items()
    ]
    return "; ".join(said)
