"""`--max-loss`: how much may be lost before a session counts as failed."""

import re
from dataclasses import dataclass
from typing import Literal

from podmirror.errors import UsageError
from podmirror.ledger import LayerLedger
from podmirror.verdict import counted

_LIMIT = re.compile(r"(\d+(?:\.\d+)?)(%|[kKMG]?B|[KMG]iB)?")

_BYTES = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}


@dataclass(frozen=True, slots=True)
class LossLimit:
    """The most that may be lost: `0`, `5` (connections), `1%` (of them), or `10kB` or `1MiB` of bytes."""

    limit: float
    unit: Literal["connections", "percent", "bytes"] = "connections"

    @classmethod
    def parse(cls, text: str) -> "LossLimit":
        """Read a limit as it stands on the command line.

        Raises:
            UsageError: It is none of those.
        """
        match = _LIMIT.fullmatch(text)
        if match is None:
            raise UsageError(
                f"--max-loss {text!r} is not understood; write a number of connections, a percentage of them (1%), "
                "or an amount of bytes (10kB, 1MiB)"
            )
        number, unit = float(match[1]), match[2]
        if unit is None:
            return cls(number)
        return cls(number, "percent") if unit == "%" else cls(number * _BYTES[unit], "bytes")

    def excess(self, ledger: LayerLedger) -> str:
        """Say in what way more was lost than this, or, for a limit of nothing, may have been; empty if neither."""
        if self.unit == "bytes":
            if ledger.lost_bytes > self.limit:
                return f"{counted(ledger.lost_bytes, 'byte')} were lost, over --max-loss"
        elif ledger.lost > (ledger.connections * self.limit / 100 if self.unit == "percent" else self.limit):
            return f"{ledger.lost:,} of {ledger.connections:,} connections lost bytes, over --max-loss"
        if not self.limit and ledger.uncertain:
            return "--max-loss 0 was asked for, and the ledger cannot rule out that something was missed"
        return ""
