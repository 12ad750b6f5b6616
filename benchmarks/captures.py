"""What is compared: ways to capture the traffic of a port, each in processes whose CPU time can be read.

A capture is a context manager: it is ready when its block begins. Inside, `measuring` spans the load; `stop` then gives what
the capture saw and what the kernel dropped before it could be seen. All run on the capture's core.
"""

import contextlib
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from benchmarks import agents
from benchmarks.capture import BUFFER_MEBIBYTES, INTERFACE, PORT, Running, Seen
from benchmarks.children import (
    CAPTURE_CORE,
    CHILD_SECONDS,
    Child,
    piped,
    python,
    result_of,
    started,
    wait_until_said,
)
from benchmarks.native import program
from tests.namespaces import Namespaces

NOTHING, AGENT, COMPILED = "nothing", "agent", "agent, compiled"
TCPDUMP, TCPDUMP_U, DUMPCAP = "tcpdump | cat", "tcpdump -U | cat", "dumpcap | cat"
SNIFF, READER = "scapy.sniff", "C ring reader"

Capture = Callable[[Namespaces], AbstractContextManager[Running]]

HELD_BACK_SECONDS = 1.3
"""libpcap lets the kernel hold packets back for up to a second while a block fills; the agent, for a millisecond."""


@contextlib.contextmanager
def nothing(_: Namespaces) -> Iterator[Running]:
    """No capture at all: what the load achieves on its own."""
    yield Running([], lambda: Seen(0, 0))


@contextlib.contextmanager
def _through_cat(made: Namespaces, command: list[str], ready: str, counts: str) -> Iterator[Running]:
    """A program that writes packets to a pipe that `cat` empties; the CPU time of both counts.

    `ready` is what it says on standard error when it captures; `counts`, a pattern for what it says at the end, with the groups
    `packets` and `drops`.
    """
    whole = made.command(made.target, *command)
    with started(whole, CAPTURE_CORE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        with started(["cat"], CAPTURE_CORE, stdin=process.stdout.fileno(), stdout=subprocess.DEVNULL) as cat:
            process.stdout.close()  # only cat reads it
            _wait_for_message(process, ready)

            def stop() -> Seen:
                process.send_signal(signal.SIGTERM)
                assert process.stderr is not None
                told = process.stderr.read()
                found = re.search(counts, told, re.DOTALL)
                if found is None:
                    raise RuntimeError(
                        f"{command[0]} did not say how many packets it captured: {told.strip()}"
                    )
                return Seen(int(found["packets"]), int(found["drops"]))

            yield Running([process.pid, cat.pid], stop, settle_seconds=HELD_BACK_SECONDS)


def _wait_for_message(process: Child, what: str) -> None:
    assert process.stderr is not None
    said = ""
    while what not in said:
        line = process.stderr.readline()
        said += line
        if not line:
            raise RuntimeError(f"{process.args!r} did not start: {said.strip()}")


def _tcpdump(*options: str) -> Capture:
    base = ["tcpdump", "-i", INTERFACE, "-n", "-B", str(BUFFER_MEBIBYTES << 10), *options, "-w", "-"]
    counts = r"(?P<packets>\d+) packets? captured.*?(?P<drops>\d+) packets? dropped by kernel"
    return lambda made: _through_cat(made, [*base, "tcp", "port", str(PORT)], "listening on", counts)


def _dumpcap(made: Namespaces) -> AbstractContextManager[Running]:
    command = ["dumpcap", "-i", INTERFACE, "-B", str(BUFFER_MEBIBYTES), "-f", f"tcp port {PORT}", "-w", "-"]
    counts = r"received/dropped on interface [^:]*: (?P<packets>\d+)/(?P<drops>\d+)"
    return _through_cat(made, command, "File: -", counts)


@contextlib.contextmanager
def scapy_sniff(made: Namespaces) -> Iterator[Running]:
    """`scapy.sniff` with a callback that only counts, and its kernel buffer as large as the others'."""
    command = python("benchmarks.sniffer", INTERFACE, str(PORT), str(BUFFER_MEBIBYTES))
    with piped(made, made.target, command, CAPTURE_CORE) as process:
        wait_until_said(process, "ready")

        def stop() -> Seen:
            process.send_signal(signal.SIGTERM)
            counts = result_of(process)
            return Seen(int(counts["packets"]), int(counts["drops"]))

        yield Running(
            [process.pid], stop, settle_limit=0.4
        )  # it is seconds behind, and its time per packet is known


@contextlib.contextmanager
def reader(made: Namespaces) -> Iterator[Running]:
    """A ring reader in C, the physical limit: `native/reader.c`."""
    command = program("reader", interface=INTERFACE, port=PORT, mebibytes=BUFFER_MEBIBYTES)
    with piped(made, made.target, command, CAPTURE_CORE) as process:
        wait_until_said(process, "ready")

        def stop() -> Seen:
            counts = result_of(process, CHILD_SECONDS)
            return Seen(int(counts["packets"]), int(counts["drops"]), counts)

        yield Running([process.pid], stop)


CAPTURES: dict[str, Capture] = {
    NOTHING: nothing,
    AGENT: agents.plain,
    COMPILED: agents.compiled,
    TCPDUMP: _tcpdump(),
    TCPDUMP_U: _tcpdump("-U"),
    DUMPCAP: _dumpcap,
    SNIFF: scapy_sniff,
    READER: reader,
}


def available() -> tuple[list[str], dict[str, str]]:
    """Give the captures that this machine can run, and why it cannot run the others."""
    missing = {
        COMPILED: agents.why_not_compiled(),
        TCPDUMP: _unless_found("tcpdump"),
        TCPDUMP_U: _unless_found("tcpdump"),
        DUMPCAP: _unless_found("dumpcap"),
    }
    names = [name for name in CAPTURES if not missing.get(name)]
    return names, {name: reason for name, reason in missing.items() if reason}


def _unless_found(command: str) -> str:
    return "" if shutil.which(command) else f"{command} is missing"
