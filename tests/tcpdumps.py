"""tcpdump beside an agent: what it wrote between two marks, so that it does not matter how soon it begins, or how late it ends.

A mark is a datagram that says what it is. tcpdump watches as soon as it has written one, and has written all that was before
one when it has written that one. It is not asked to be immediate: its ring then has room for few packets only.
"""

import contextlib
import itertools
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.namespaces import Namespaces

MARK_PORT = 61_999
MARK = b"podmirror-mark"
_RING_KIBIBYTES = 65_536
_PATIENCE_SECONDS = 40.0


@dataclass(frozen=True)
class Dump:
    """An interface of the target that is watched."""

    file: Path
    send: Callable[[bytes], None]
    """Sends a datagram that the interface sees."""
    interface: str = "eth0"
    expression: str = ""


def from_client(made: Namespaces, target: str) -> Callable[[bytes], None]:
    """Give what sends marks from the client to the target."""
    return lambda mark: made.run_in(made.client, lambda: _send(mark, target))


def from_target(made: Namespaces, address: str) -> Callable[[bytes], None]:
    """Give what sends marks from the target, to itself or to the client."""
    return lambda mark: made.run_in(made.target, lambda: _send(mark, address))


def _send(mark: bytes, address: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(mark, (address, MARK_PORT))


def mark_of(data: bytes) -> str:
    """Give the name of the mark that a datagram is, if it is one."""
    return data.removeprefix(MARK).decode() if data.startswith(MARK) else ""


@contextlib.contextmanager
def tcpdumps(made: Namespaces, *dumps: Dump) -> Iterator[None]:
    """Let tcpdump watch, from before the marks `begin N` to behind the marks `end`; both are in its files."""
    with contextlib.ExitStack() as stack:
        for namespace in (made.target, made.client):
            here = stack.enter_context(made.run_in(namespace, lambda: socket.socket(type=socket.SOCK_DGRAM)))
            here.bind(("", MARK_PORT))  # or the kernel answers that nobody listens
        processes = [stack.enter_context(_running(made, each)) for each in dumps]
        due = time.monotonic() + _PATIENCE_SECONDS
        for number in itertools.count():
            if all(_has(each, "begin") for each in dumps):
                break
            assert time.monotonic() < due, "tcpdump does not begin"
            for each in dumps:
                each.send(MARK + b"begin %d" % number)
            time.sleep(0.05)
        yield
        for each in dumps:
            each.send(MARK + b"end")
        for each in dumps:
            while not _has(each, "end"):
                assert time.monotonic() < due, "tcpdump does not come to the end"
                time.sleep(0.02)
        for process in processes:
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=20)[1]
            assert "\n0 packets dropped by kernel" in said, said


@contextlib.contextmanager
def _running(made: Namespaces, dump: Dump) -> Iterator["subprocess.Popen[str]"]:
    options = ["-i", dump.interface, "-w", str(dump.file), "-U", "-B", str(_RING_KIBIBYTES), "-Z", "root"]
    marks = f"udp port {MARK_PORT}"
    expression = f"({dump.expression}) or {marks}" if dump.expression else ""
    command = made.command(made.target, "tcpdump", *options, "--time-stamp-precision=nano", expression)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _has(dump: Dump, what: str) -> bool:
    return dump.file.exists() and MARK + what.encode() in dump.file.read_bytes()
