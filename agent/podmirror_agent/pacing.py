"""When to look at the capture again.

Theory of operation. The kernel gives up a block of the ring a millisecond after its first packet, and says so. To wake up for
each costs what a wake-up, a write and a frame for each connection cost, however few packets share it. At low rates that is
cheap and the latency is worth it. At high rates the same packets are taken in a third of the wake-ups, a few blocks at a time,
so that packets of one connection share a frame; they come some milliseconds later.
"""

BUSY_BYTES_PER_SECOND = 10e6
"""Of the ring, headers included: 30,000 small packets/s. 10,000 requests/s of 256 bytes are two thirds of it."""

PAUSE_SECONDS = 0.003
"""Between two looks: 3 blocks, of the 256 that the ring has."""

MOST_BYTES = 1 << 20
"""Where a look brings more, there may be more behind it already."""


class Pacing:
    """Says how long to wait from one look at the ring to the next."""

    def __init__(self, now: float) -> None:
        """Begin; `now` is monotonic, in seconds."""
        self._looked_at = now
        self._was_busy = False

    def pause_after(self, size: int, now: float) -> float:
        """Give the seconds to wait after a look that brought so many bytes of the ring; 0 for until there is something."""
        elapsed, self._looked_at = now - self._looked_at, now
        was_busy, self._was_busy = self._was_busy, 0 < size >= BUSY_BYTES_PER_SECOND * elapsed
        # Not after the first: that may be a burst, which is over.
        return PAUSE_SECONDS if self._was_busy and was_busy and size < MOST_BYTES else 0.0
