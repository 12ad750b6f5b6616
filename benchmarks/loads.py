"""What a load is, what became of it, and the namespaces between which it runs."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.namespaces import Namespaces, namespaces


@dataclass(frozen=True)
class Achieved:
    """What became of a load."""

    units: float
    """Segments, writes or requests."""
    sent_bytes: int
    """Payload towards the port."""
    seconds: float
    details: dict[str, float]

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.units / self.seconds


class Load(Protocol):
    """Something that makes traffic to the port for a while."""

    @property
    def name(self) -> str:
        """What a table calls it."""

    @property
    def rate(self) -> float:
        """Units a second that are asked for; 0 for as fast as it goes."""

    def run(self, made: Namespaces, seconds: float) -> Achieved:
        """Make the traffic, to its end."""


@contextlib.contextmanager
def quiet_namespaces() -> Iterator[Namespaces]:
    """Make namespaces whose kernels answer nothing that is injected, and re-use ports at once."""
    with namespaces() as made:
        for namespace in (made.target, made.client):
            with namespace.entered():
                for name, value in (
                    ("ip_forward", "0"),
                    ("tcp_tw_reuse", "1"),
                    ("ip_local_port_range", "10000 60000"),
                ):
                    Path(f"/proc/sys/net/ipv4/{name}").write_text(value)
        yield made
