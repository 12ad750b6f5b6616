"""The pod's clock against ours, by a ping and its pong. No I/O."""

from dataclasses import dataclass
from typing import Self

from podmirror_wire.frames import Pong


@dataclass(frozen=True, slots=True)
class ClockReading:
    """What one pong says."""

    offset: float
    """The pod's clock minus ours, seconds, if the way there took as long as the way back."""
    uncertainty: float
    """Seconds either way: half of the time between ping and pong."""

    @classmethod
    def of(cls, pong: Pong, now: int) -> Self:
        """Read a pong that came now, nanoseconds since 1970."""
        return cls((pong.time - (pong.ping_time + now) / 2) / 1e9, (now - pong.ping_time) / 2e9)
