"""The loads, and how one is run between the two namespaces."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.children import CHILD_SECONDS, python, wait_until_ready
from tests.namespaces import TARGET_V4, Namespaces

if TYPE_CHECKING:
    import subprocess

PORT = 8080


@dataclass(frozen=True)
class Load:
    """A paced load: so many writes a second, of so many bytes, on connections in turn."""

    name: str
    connections: int
    size: int
    rate: float

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.rate:,.0f} writes/s of {self.size:,} bytes on {self.connections} connections"
        )


LOADS = (
    Load("light", connections=20, size=200, rate=500),
    Load("small writes", connections=20, size=200, rate=10_000),
    Load("bulk", connections=8, size=100_000, rate=1_000),
)
"""`light` is one that scapy.sniff can carry; `bulk` is 100 MB/s, in super-packets where the kernel makes them."""


@dataclass(frozen=True)
class Achieved:
    """What became of a load."""

    writes: int
    sent_bytes: int
    received_bytes: int
    seconds: float

    @property
    def rate(self) -> float:
        """Writes a second."""
        return self.writes / self.seconds


def run_load(load: Load, seconds: float, made: Namespaces) -> Achieved:
    """Run a load from the client's namespace to the target's, to its end.

    Raises:
        RuntimeError: One of the two ends failed.
    """
    shape = ["--port", str(PORT), "--connections", str(load.connections)]
    pace = ["--size", str(load.size), "--rate", str(load.rate), "--seconds", str(seconds)]
    with python(made, made.target, "benchmarks.generator", "sink", *shape) as sink:
        wait_until_ready(sink)
        sender_arguments = ["send", *shape, "--address", TARGET_V4, *pace]
        with python(made, made.client, "benchmarks.generator", *sender_arguments) as sender:
            sent = _result(sender, seconds)
        received = _result(sink, seconds)
    return Achieved(
        int(sent["writes"]), int(sent["sent_bytes"]), int(received["received_bytes"]), sent["seconds"]
    )


def _result(process: "subprocess.Popen[str]", seconds: float) -> dict[str, float]:
    output, _ = process.communicate(timeout=CHILD_SECONDS + 3 * seconds)
    if process.returncode != 0:
        raise RuntimeError(f"one end of the load failed, with exit code {process.returncode}")
    result: dict[str, float] = json.loads(output)
    return result
