"""Which port of the pod goes to which port of this machine: `-p REMOTE[:LOCAL]`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from podmirror.errors import UsageError


@dataclass(frozen=True, slots=True)
class PortPair:
    """A port of the pod, and the local one if it was named."""

    remote: int
    local: int | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `REMOTE` or `REMOTE:LOCAL`.

        Raises:
            UsageError: It is neither, or a port is outside 1 to 65535.
        """
        remote, colon, local = text.partition(":")
        try:
            return cls(_port(remote), _port(local) if colon else None)
        except ValueError:
            raise UsageError(
                f"port {text!r} is not understood; write REMOTE or REMOTE:LOCAL, each between 1 and 65535"
            ) from None


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise ValueError(text)
    return int(text)


def without_repeats(pairs: Iterable[PortPair]) -> list[PortPair]:
    """Give the pairs if every remote port is named once.

    Raises:
        UsageError: One is named twice.
    """
    seen: dict[int, PortPair] = {}
    for pair in pairs:
        if pair.remote in seen:
            raise UsageError(f"port {pair.remote} of the pod is named twice; each can go to one local port")
        seen[pair.remote] = pair
    return list(seen.values())
