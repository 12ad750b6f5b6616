"""What is compared: ways to capture the traffic of a port, each in processes whose CPU time can be read.

A capture is a context manager: it is ready when its block begins. Inside, `measuring` spans the load; `stop` then gives
what the capture saw and what the kernel dropped before it could be seen.
"""

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from benchmarks.children import CHILD_SECONDS, cpu_seconds, python, started, wait_until_ready
from benchmarks.load import PORT
from podmirror_wire.handshake import new_secret, verifier_of
from tests.namespaces import Namespaces

AGENT_PORT = 61_234
INTERFACE = "eth0"

BUFFER_MEBIBYTES = 64
"""Of tcpdump's ring: as large as the agent's is by default."""

SETTLE_SECONDS = 0.4
"""After the load, until the last packets are dealt with."""

TCPDUMP_SETTLE_SECONDS = 1.3
"""tcpdump lets the kernel hold packets back for up to a second while a block fills; the agent, for a millisecond."""


@dataclass(frozen=True)
class Seen:
    """What a capture says of itself."""

    packets: int
    drops: int
    """Packets that the kernel dropped since the capture's buffer was full."""
    missed_bytes: int | None = None
    """Bytes of the load that are not in what was captured, where the capture counts bytes at all."""


@dataclass
class Running:
    """A capture that is ready."""

    processes: list[int]
    settle_seconds: float
    stop: Callable[[int], Seen]
    """Ends the capture; given the bytes that were sent."""
    cpu: float = 0.0
    """Seconds, of all processes, in the measured span."""

    @contextlib.contextmanager
    def measuring(self) -> Iterator[None]:
        """Measure the CPU time of the block, and of what the capture does right after it."""
        before = sum(map(cpu_seconds, self.processes))
        yield
        time.sleep(self.settle_seconds)
        self.cpu = sum(map(cpu_seconds, self.processes)) - before


@contextlib.contextmanager
def nothing(_: Namespaces) -> Iterator[Running]:
    """No capture at all: what the load achieves on its own."""
    yield Running([], 0.0, lambda _: Seen(0, 0))


@contextlib.contextmanager
def agent(made: Namespaces) -> Iterator[Running]:
    """The agent as in a pod, with a layer that drains it."""
    secret = new_secret()
    arguments = [
        "--ports",
        str(AGENT_PORT),
        "--verifier",
        verifier_of(secret).hex(),
        "--log-level",
        "warning",
    ]
    with (
        started(made.command(made.target, sys.executable, "-m", "podmirror_agent", *arguments)) as process,
        python(made, made.target, "benchmarks.drain", str(AGENT_PORT), str(PORT)) as drain,
    ):
        assert drain.stdin is not None
        drain.stdin.write(secret.hex() + "\n")
        drain.stdin.flush()
        wait_until_ready(drain)

        def stop(sent_bytes: int) -> Seen:
            told, _ = drain.communicate(timeout=CHILD_SECONDS)
            if drain.returncode != 0 or process.wait(CHILD_SECONDS) != 0:
                raise RuntimeError(
                    f"exit codes: drain {drain.returncode}, agent {process.poll()} (-9: it was killed)"
                )
            counts = json.loads(told)
            missed = sent_bytes - counts["bytes_seen"] + counts["cut_bytes"]
            return Seen(counts["packets"], counts["kernel_drops"], missed)

        yield Running([process.pid], SETTLE_SECONDS, stop)


@contextlib.contextmanager
def tcpdump(made: Namespaces) -> Iterator[Running]:
    """tcpdump, writing each packet at once to a pipe that `cat` empties; the CPU time of both counts."""
    options = ["-i", INTERFACE, "-n", "-B", str(BUFFER_MEBIBYTES << 10), "-U", "-w", "-"]
    command = made.command(made.target, "tcpdump", *options, "tcp", "port", str(PORT))
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        with started(["cat"], stdin=process.stdout.fileno(), stdout=subprocess.DEVNULL) as cat:
            process.stdout.close()  # only cat reads it
            said = ""
            while "listening on" not in said:
                line = process.stderr.readline()
                said += line
                if not line:
                    raise RuntimeError(f"tcpdump did not start: {said.strip()}")

            def stop(_: int) -> Seen:
                process.send_signal(signal.SIGTERM)
                assert process.stderr is not None
                told = process.stderr.read()
                return Seen(_count(told, "captured"), _count(told, "dropped by kernel"))

            yield Running([process.pid, cat.pid], TCPDUMP_SETTLE_SECONDS, stop)


def _count(told: str, what: str) -> int:
    found = re.search(rf"(\d+) packets? {what}", told)
    if found is None:
        raise RuntimeError(f"tcpdump did not say how many packets it {what}: {told.strip()}")
    return int(found[1])


@contextlib.contextmanager
def scapy_sniff(made: Namespaces) -> Iterator[Running]:
    """scapy's own sniffer, which dissects each packet and keeps none."""
    with python(made, made.target, "benchmarks.sniffer", INTERFACE, str(PORT)) as process:
        wait_until_ready(process)

        def stop(_: int) -> Seen:
            process.send_signal(signal.SIGTERM)
            told = json.loads(process.communicate(timeout=CHILD_SECONDS)[0])
            return Seen(told["packets"], told["drops"])

        yield Running([process.pid], SETTLE_SECONDS, stop)


NOTHING, AGENT, TCPDUMP, SCAPY = "nothing", "podmirror agent", "tcpdump | cat", "scapy.sniff"

CAPTURES: dict[str, Callable[[Namespaces], AbstractContextManager[Running]]] = {
    NOTHING: nothing,
    AGENT: agent,
    TCPDUMP: tcpdump,
    SCAPY: scapy_sniff,
}
