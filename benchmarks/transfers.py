"""Loads that go through the kernel's own TCP, from a client's socket to an app's."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from benchmarks.capture import INTERFACE, PORT
from benchmarks.children import CHILD_SECONDS, LOAD_CORE, Child, piped, result_of, wait_until_said
from benchmarks.loads import Achieved
from benchmarks.native import program
from tests.namespaces import TARGET_V4, Namespaces


@contextlib.contextmanager
def app(made: Namespaces, core: int = LOAD_CORE, **options: object) -> Iterator[Child]:
    """Run the app in the target's namespace; the options are those of `native/app.c`."""
    with piped(made, made.target, program("app", port=PORT, **options), core) as process:
        wait_until_said(process, "ready")
        yield process


def run_client(
    made: Namespaces,
    name: str,
    seconds: float,
    options: Mapping[str, object],
    over: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Run `native/stream.c` or `native/client.c` in the client's namespace to its end, and give what it says.

    `over` is called when the load is over and its connections are still open.

    Raises:
        RuntimeError: It failed.
    """
    command = program(name, address=TARGET_V4, port=PORT, seconds=seconds, **options)
    with piped(made, made.client, command, LOAD_CORE) as process:
        wait_until_said(process, "over")
        over()
        return result_of(process, CHILD_SECONDS + 3 * seconds)


@dataclass(frozen=True)
class Stream:
    """Writes on connections in turn, to an app that only reads."""

    connections: int
    size: int
    """Bytes of each write."""
    rate: float
    """Writes a second."""
    offloads: bool = True
    """Whether the kernel may make super-packets; without, they have the MTU's size."""

    @property
    def name(self) -> str:
        """What a table calls it."""
        megabytes = self.size * self.rate / 1e6
        packets = "" if self.offloads else ", no offloads"
        return f"{megabytes:,.0f} MB/s in writes of {self.size:,} bytes on {self.connections:,} connections{packets}"

    def run(self, made: Namespaces, seconds: float) -> Achieved:
        """Write to the app until it has read all."""
        with _offloads(made, self.offloads), app(made) as sink:
            options = {"connections": self.connections, "size": self.size, "rate": self.rate}
            told = run_client(made, "stream", seconds, options)
            received = result_of(sink)["bytes"]
        if received != told["bytes"]:
            raise RuntimeError(f"of {told['bytes']:.0f} bytes that were sent the app read {received:.0f}")
        return Achieved(told["writes"], int(told["bytes"]), told["seconds"], told)


@dataclass(frozen=True)
class Requests:
    """Requests that are answered."""

    connections: int
    rate: float
    """Requests a second; 0: the next one follows the answer."""
    once: bool = False
    """A connection for each request."""
    message: int = 256
    """Bytes of a request."""

    @property
    def name(self) -> str:
        """What a table calls it."""
        pace = f"{self.rate:,.0f} requests/s" if self.rate else "requests as fast as they are answered"
        way = "a connection for each" if self.once else f"{self.connections} connections"
        return f"{pace} of {self.message} bytes, {way}"

    def run(self, made: Namespaces, seconds: float) -> Achieved:
        """Send requests and read the answers."""
        with app(made, message=self.message) as serving:
            options = {"connections": self.connections, "rate": self.rate, "once": int(self.once)}
            told = run_client(made, "client", seconds, options | {"message": self.message})
            result_of(serving)
        return Achieved(told["answered"], int(told["bytes"]), told["seconds"], told)


@contextlib.contextmanager
def _offloads(made: Namespaces, wanted: bool) -> Iterator[None]:
    """Switch the sender's segmentation offloads off for the block, if they are not wanted."""

    def switch(to: str) -> None:
        command = made.command(made.client, "ethtool", "-K", INTERFACE, "tso", to, "gso", to)
        subprocess.run(command, check=True, capture_output=True)

    if wanted:
        yield
        return
    switch("off")
    try:
        yield
    finally:
        switch("on")
