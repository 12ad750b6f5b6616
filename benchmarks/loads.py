"""What runs between the two namespaces: frames that are injected, and what became of a load."""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.capture import INTERFACE, PORT
from benchmarks.children import CHILD_SECONDS, LOAD_CORE, piped, result_of
from benchmarks.native import program
from tests.namespaces import Namespaces, namespaces

HEADER_BYTES = 54
"""Of an injected frame: Ethernet, IPv4 and TCP without options."""


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

    def run(self, made: Namespaces, seconds: float) -> Achieved:
        """Make the traffic, to its end."""


@dataclass(frozen=True)
class Injection:
    """Frames from `native/inject.c`: TCP segments in sequence order, the flows taking turns."""

    payload: int
    """Bytes of each segment; the frame has `HEADER_BYTES` more."""
    rate: float
    """Segments a second; 0 for as fast as it goes."""
    flows: int = 100
    burst: int = 1
    """Segments of a flow in a row."""
    ack_every: int = 0
    """The responder acknowledges each time so many segments of a flow were sent; 0: at the end only."""
    first_port: int = 20_000

    @property
    def name(self) -> str:
        """What a table calls it."""
        pace = f"{self.rate:,.0f}/s" if self.rate else "as fast as it goes"
        return f"{self.payload + HEADER_BYTES:,}-byte frames, {pace}, {self.flows} connections"

    def run(self, made: Namespaces, seconds: float) -> Achieved:
        """Send the frames from the client's namespace, and the answers from the target's."""
        with _packet_socket(made, target=False) as client, _packet_socket(made, target=True) as target:
            command = program(
                "inject",
                client=client.fileno(),
                target=target.fileno(),
                port=PORT,
                size=self.payload,
                rate=self.rate,
                seconds=seconds,
                flows=self.flows,
                burst=self.burst,
                ack_every=self.ack_every,
                first=self.first_port,
            )
            descriptors = (client.fileno(), target.fileno())
            with piped(made, made.client, command, LOAD_CORE, pass_fds=descriptors) as process:
                told = result_of(process, CHILD_SECONDS + 3 * seconds)
        return Achieved(told["segments"], int(told["bytes"]), told["seconds"], told)


def _packet_socket(made: Namespaces, *, target: bool) -> socket.socket:
    def make() -> socket.socket:
        # Protocol 0: it sends, and receives nothing.
        made_there = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        made_there.bind((INTERFACE, 0))
        return made_there

    return made.run_in(made.target if target else made.client, make)


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
