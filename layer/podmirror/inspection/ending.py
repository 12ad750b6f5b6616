"""When looking is over: after so many records, or so long."""

import re
from dataclasses import dataclass

from podmirror.errors import UsageError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


def parse_duration(text: str) -> float:
    """Give the seconds of `10s`, `1m30s`, `500ms`, or of a number alone, which means seconds.

    Raises:
        UsageError: It is none of those, or no time at all.
    """
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        seconds = float(text)
    elif _DURATION.fullmatch(text):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    else:
        raise UsageError(f"{text!r} is no duration; write it as 10s, 1m30s or 500ms")
    if seconds <= 0:
        raise UsageError(f"{text!r} is no time at all; leave it out to go on until Ctrl-C")
    return seconds


@dataclass(slots=True)
class Ending:
    """Knows when enough was seen."""

    count: int | None = None
    """Records after which it is over."""
    seen: int = 0

    def take(self, offered: int) -> int:
        """Give how many of so many records that have come are still wanted."""
        wanted = offered if self.count is None else min(offered, self.count - self.seen)
        self.seen += wanted
        return wanted

    @property
    def reached(self) -> bool:
        """Whether as many were seen as were wanted."""
        return self.count is not None and self.seen >= self.count
