"""Reads the capture on the event loop, when there is something and it is time."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Protocol

from podmirror_agent.mirror import Interest, Mirror
from podmirror_agent.pacing import Pacing


class PacketSource(Protocol):
    """What `Capture` offers; tests put packets of their own in its place."""

    def fileno(self) -> int:
        """Give the descriptor that turns readable when there are packets."""

    def set_interest(self, interest: Interest) -> None:
        """Let packets of this interest through."""

    def why_not(self, expression: str) -> str:
        """Say why packets cannot be filtered by a tcpdump expression; nothing if they can."""

    def read_into(self, mirror: Mirror, now: float) -> Iterator[int]:
        """Give the packets that are there to the mirror, and stop after each part of them, whose memory is then given back.

        Yields how much memory that is, in bytes.
        """

    def seen_until(self, now: float) -> float:
        """Give the time up to which every packet was read; `now` is monotonic seconds, and so is that, or a file's own time."""

    def drops(self) -> int:
        """Count the packets that were lost before they could be read."""

    def close(self) -> None:
        """Let go of everything."""


class Reading:
    """Gives what a capture has to a mirror."""

    def __init__(self, capture: PacketSource, mirror: Mirror, write_output: Callable[[], None]) -> None:
        """Set who takes part; `write_output` is called before the capture's memory is given back."""
        self._capture = capture
        self._mirror = mirror
        self._write_output = write_output
        self._loop = asyncio.get_running_loop()
        self._pacing = Pacing(self._loop.time())
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Read whenever there is something."""
        self._timer = None
        self._loop.add_reader(self._capture.fileno(), self._read)

    def pause(self, seconds: float) -> None:
        """Read nothing for so long, and then go on."""
        self.end()
        self._timer = self._loop.call_later(seconds, self._read)

    def end(self) -> None:
        """Read nothing more."""
        if self._timer is None:
            self._loop.remove_reader(self._capture.fileno())
        else:
            self._timer.cancel()

    def _read(self) -> None:
        now = self._loop.time()
        size = 0
        for read in self._capture.read_into(self._mirror, now):
            size += read
            self._write_output()
        pause = self._pacing.pause_after(size, now)
        if pause:
            self.pause(pause)
        elif self._timer is not None:
            self.begin()
