"""Rates and totals of exchanges, told from samples."""

from collections import deque

from podmirror.inspection.exchange import Exchange
from podmirror.stats import amount

SMOOTHING_SECONDS = 2.0
"""Over which rates are told: shorter, they would jump too much to be read."""


class Rates:
    """Counts finished exchanges."""

    def __init__(self) -> None:
        self.exchanges = 0
        self.bytes = 0
        self._errors = 0
        self._samples: deque[tuple[float, int, int]] = deque()

    def receive(self, exchange: Exchange) -> None:
        """Count a finished exchange."""
        self.exchanges += 1
        self.bytes += exchange.request.size
        if exchange.response is not None:
            self.bytes += exchange.response.size
            self._errors += exchange.response.status >= 500

    def sample(self, now: float) -> None:
        """Take note of the counts at a time, in monotonic seconds."""
        self._samples.append((now, self.exchanges, self.bytes))
        while len(self._samples) > 2 and self._samples[1][0] <= now - SMOOTHING_SECONDS:
            self._samples.popleft()

    @property
    def text(self) -> str:
        """What there is to say."""
        (first, exchanges, size), (last, _, _) = self._samples[0], self._samples[-1]
        seconds = last - first
        rate = (self.exchanges - exchanges) / seconds if seconds > 0 else 0.0
        volume = (self.bytes - size) / seconds if seconds > 0 else 0.0
        errors = f", {self._errors:,} with status 5xx" if self._errors else ""
        return f"{rate:,.1f} exchanges/s, {amount(volume)}/s; {self.exchanges:,} exchanges in all{errors}"
