"""A load of frames that are injected, with nobody's TCP in between."""

import socket
from dataclasses import dataclass

from benchmarks.capture import INTERFACE, PORT
from benchmarks.children import CHILD_SECONDS, LOAD_CORE, piped, result_of
from benchmarks.loads import Achieved
from benchmarks.native import program
from tests.namespaces import Namespaces

HEADER_BYTES = 54
"""Of an injected frame: Ethernet, IPv4 and TCP without options."""


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
    linger: float = 0.0
    """Seconds between the last segment and the ends of the connections."""
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
                linger=self.linger,
                first=self.first_port,
            )
            descriptors = (client.fileno(), target.fileno())
            with piped(made, made.client, command, LOAD_CORE, pass_fds=descriptors) as process:
                told = result_of(process, CHILD_SECONDS + 3 * seconds + self.linger)
        return Achieved(told["segments"], int(told["bytes"]), told["seconds"], told)


def _packet_socket(made: Namespaces, *, target: bool) -> socket.socket:
    def make() -> socket.socket:
        # Protocol 0: it sends, and receives nothing.
        made_there = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        made_there.bind((INTERFACE, 0))
        return made_there

    return made.run_in(made.target if target else made.client, make)
