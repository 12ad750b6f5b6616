"""How long something took, without the time in which this machine kept work waiting.

A promise like "within a second" is about what is done, not about who else uses the processors. Linux tells for how long some
process was ready to run and had no processor (pressure stall information, Documentation/accounting/psi.rst); where it does
not, or where the whole machine stood still, a thread that wakes up too late tells so.
"""

import contextlib
import threading
import time
from pathlib import Path
from typing import Self

_PRESSURE = Path("/proc/pressure/cpu")
_TICK_SECONDS = 0.02


class Stopwatch:
    """Runs for as long as its block does."""

    def __enter__(self) -> Self:
        self._over = threading.Event()
        self._late = 0.0
        self._ticking = threading.Thread(target=self._tick, name="stopwatch")
        self._pressure = _pressure()
        self._began = time.monotonic()
        self._ticking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._took = time.monotonic() - self._began
        self._pressure = _pressure() - self._pressure
        self._over.set()
        self._ticking.join()

    @property
    def seconds(self) -> float:
        """How long the block took, were it alone here."""
        return self._took - self.held_up

    @property
    def held_up(self) -> float:
        """Seconds of the block in which this machine kept work waiting."""
        return max(self._pressure, self._late)

    def _tick(self) -> None:
        before = time.monotonic()
        while not self._over.wait(_TICK_SECONDS):
            now = time.monotonic()
            self._late += max(now - before - _TICK_SECONDS, 0.0)
            before = now


def _pressure() -> float:
    """Give the seconds since the boot in which something waited for a processor; nothing where that is not told."""
    with contextlib.suppress(OSError):
        return int(_PRESSURE.read_text().split("total=")[1].split()[0]) / 1e6
    return 0.0
