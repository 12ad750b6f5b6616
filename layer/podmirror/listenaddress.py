"""An address to listen on, as it stands on the command line."""

import re
from dataclasses import dataclass
from typing import Self

from podmirror.errors import UsageError

LOOPBACK = "127.0.0.1"
"""Where nobody names a host, nobody but this machine is served."""

_ADDRESS = re.compile(r"(?:\[([^\[\]\s]+)\]|([^:\[\]\s]*)):([0-9]{1,5})")
_MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """A host and a port, 0 for any that is free."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `HOST:PORT`, `:PORT` (of the loopback interface) or `[IPv6]:PORT`.

        Raises:
            UsageError: It is none of those.
        """
        match = _ADDRESS.fullmatch(text)
        if match is None or int(match[3]) > _MAX_PORT:
            raise UsageError(f"address {text!r} is not understood; write HOST:PORT, :PORT or [IPv6]:PORT")
        return cls(match[1] or match[2] or LOOPBACK, int(match[3]))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
