"""Busy captures are read at intervals, all others as soon as there is something."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from podmirror_agent.budget import Budget
from podmirror_agent.mirror import Mirror
from podmirror_agent.pacing import BUSY_BYTES_PER_SECOND, MOST_BYTES, PAUSE_SECONDS, Pacing
from podmirror_agent.reading import Reading

MILLISECOND = 0.001
BUSY = int(BUSY_BYTES_PER_SECOND * MILLISECOND * 1.5)
"""Of a millisecond, and not of two."""


@pytest.fixture
def pacing() -> Pacing:
    return Pacing(0.0)


def test_blocks_of_a_busy_capture_are_taken_some_at_a_time(pacing):
    assert pacing.pause_after(BUSY, MILLISECOND) == 0  # it may be a burst
    assert pacing.pause_after(BUSY, 2 * MILLISECOND) == PAUSE_SECONDS


def test_pace_is_kept_for_as_long_as_the_rate_is(pacing):
    now = MILLISECOND
    pacing.pause_after(BUSY, now)
    for _ in range(10):
        now += 4 * MILLISECOND
        assert pacing.pause_after(4 * BUSY, now) == PAUSE_SECONDS
    assert pacing.pause_after(2 * BUSY, now + 4 * MILLISECOND) == 0


def test_a_burst_after_silence_is_taken_at_once(pacing):
    assert pacing.pause_after(BUSY, 1.0) == 0


def test_what_is_no_ring_is_never_waited_for(pacing):
    """A file has its own pace, and to read from one that has not said so would block."""
    assert [pacing.pause_after(0, 0.0) for _ in range(2)] == [0, 0]


def test_who_is_behind_does_not_wait(pacing):
    pacing.pause_after(MOST_BYTES, MILLISECOND)
    assert pacing.pause_after(MOST_BYTES, 2 * MILLISECOND) == 0


class Source:
    """A capture that is always readable, and notes when it was read."""

    def __init__(self, *sizes: int) -> None:
        self._read_end, self._write_end = os.pipe()
        os.write(self._write_end, b"!")
        self._sizes = list(sizes)
        self.times: list[float] = []
        self.done = asyncio.Event()

    def fileno(self) -> int:
        return self._read_end

    def read_into(self, mirror: Mirror, now: float) -> Iterator[int]:
        self.times.append(now)
        yield self._sizes.pop(0)
        if not self._sizes:
            os.read(self._read_end, 1)
            self.done.set()

    def close(self) -> None:
        os.close(self._read_end)
        os.close(self._write_end)


async def read_all(source: Source, *, pause: float = 0.0) -> list[float]:
    """Read until the source is done, and give the times between."""
    written: list[int] = []
    reading = Reading(source, Mirror(Budget(1 << 20)), lambda: written.append(len(source.times)))
    reading.begin()
    if pause:
        reading.pause(pause)
    await asyncio.wait_for(source.done.wait(), 10)
    reading.end()
    source.close()
    assert written == list(range(1, len(source.times) + 1))
    return [after - before for before, after in zip(source.times, source.times[1:], strict=False)]


async def test_a_busy_capture_is_left_alone_between_two_looks():
    between = await read_all(Source(*[MOST_BYTES - 1] * 4, *[0] * 20))

    assert all(each >= PAUSE_SECONDS for each in between[1:4])
    assert min(between[4:]) < PAUSE_SECONDS


async def test_reading_goes_on_after_a_pause():
    begin = asyncio.get_running_loop().time()
    source = Source(0, 0)
    await read_all(source, pause=0.02)

    assert source.times[0] - begin >= 0.02
