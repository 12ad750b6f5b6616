"""Holding the agent to a share of a CPU: when to pause, and how many connections to go on with.

Theory of operation. What the agent may use flows into an account at a steady rate, up to a limit that lets a short burst pass,
and what it has used flows out. While the account is overdrawn the agent pauses, and packets wait in the ring. That alone would
end in a ring that overflows and gaps in every connection. So an overdraft also lowers the number of classes of connections that
are mirrored, by a quarter, or at once to the part for which the allowance would have been enough; the others are shed whole, in
the kernel's filter, where they cost next to nothing. So does a ring that overflowed although the agent used less than it may:
then others have the CPU, and it is better to lose whole connections than a part of each. When less than two thirds of the
allowance are used the number rises, slowly: the same additive increase and multiplicative decrease with which TCP finds its
share (RFC 5681, 3.1).
"""

from typing import NamedTuple

ALL_KEPT = 256
"""Classes of connections (`filters.connection_class`), of which none is shed."""

BURST_SECONDS = 1.0
"""Of the allowance that may be saved up: a page load or a large upload passes, and a busy second is paid back."""

PERIOD_SECONDS = 0.1
"""Between decisions: the period of the kernel's CPU bandwidth control (Documentation/scheduler/sched-bwc.rst)."""

_DECREASE = 0.75
"""At most; less where the use was further from the allowance."""

_INCREASE = 2
"""Classes a period, so that all are back after 13 seconds."""

_EASE = 2 / 3
"""Of the allowance: below this more connections are taken on."""

_SETTLE_SECONDS = 0.5
"""After a decrease, until it shows: packets that passed the old filter are still in the ring."""


MAX_PAUSE_SECONDS = 0.5
"""At a time, while there is something to shed instead: the ring holds half a second of a busy pod. The rest is owed."""


class Verdict(NamedTuple):
    """What to do until the next measurement."""

    kept: int
    """Classes of connections that are mirrored."""
    pause: float
    """Seconds for which not to read the ring."""


class Governor:
    """Decides from the CPU time that was used."""

    def __init__(self, cores: float, cpu: float, now: float) -> None:
        """Begin; `cores` is the allowance, `cpu` what was used before, `now` monotonic, the latter two in seconds."""
        self._cores = cores
        self._cpu = cpu
        self._now = now
        self._account = cores * BURST_SECONDS
        self._kept = ALL_KEPT
        self._settled_at = now

    def measure(self, cpu: float, now: float, *, dropped: bool = False) -> Verdict:
        """Take the CPU time that the process has used in all, in seconds, at a monotonic time.

        `dropped` says whether the ring overflowed since the last time: then others have the CPU, and less must do.
        """
        used, elapsed = cpu - self._cpu, now - self._now
        self._cpu, self._now = cpu, now
        allowance = self._cores * elapsed
        self._account = min(self._account + allowance - used, self._cores * BURST_SECONDS)
        overdrawn = self._account < 0
        overspent = overdrawn and used > allowance
        if (overspent or dropped) and now >= self._settled_at:
            share = allowance / used if overspent else 1.0
            self._kept = int(self._kept * min(_DECREASE, share))
            self._settled_at = now + _SETTLE_SECONDS
        if overdrawn:
            pause = -self._account / self._cores
            return Verdict(self._kept, min(pause, MAX_PAUSE_SECONDS) if self._kept else pause)
        if used < allowance * _EASE and not dropped and now >= self._settled_at:
            self._kept = min(self._kept + _INCREASE, ALL_KEPT)
        return Verdict(self._kept, 0.0)
