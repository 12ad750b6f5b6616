"""Two real network namespaces, `client` and `pod`, joined by a veth pair with IPv4 and IPv6.

Needs root and iproute2. Names are unique to the process, and everything is gone at the end of the `with` block.
"""

import contextlib
import ctypes
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_numbers = itertools.count()

CLIENT_ADDRESSES = ("10.99.0.1", "fd99::1")
POD_ADDRESSES = ("10.99.0.2", "fd99::2")
_CLIENT_MAC, _POD_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"


def why_not() -> str | None:
    """Give the reason why this machine cannot make namespaces for a test; None if it can."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "making network namespaces needs root"
    if shutil.which("ip") is None:
        return "iproute2's ip is not installed"
    probe = f"pmprobe{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        return f"ip netns add: {made.stderr.strip()}"
    _ip("netns", "del", probe)
    return None


@dataclass(frozen=True)
class Namespace:
    """A network namespace that `ip netns` knows."""

    name: str

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Let this thread be in the namespace: sockets and processes made here belong to it for good."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(Path("/run/netns") / self.name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(there)
            try:
                yield
            finally:
                _enter(before)
        finally:
            os.close(there)
            os.close(before)


@dataclass(frozen=True)
class Wire:
    """The two ends. Each has one interface, `eth0`, besides its loopback."""

    client: Namespace
    pod: Namespace


@contextlib.contextmanager
def joined() -> Iterator[Wire]:
    """Make both namespaces, and remove them at the end."""
    number = next(_numbers)
    client, pod = (Namespace(f"pm{side}{os.getpid()}x{number}") for side in ("c", "p"))
    try:
        for namespace in (client, pod):
            _ip("netns", "add", namespace.name)
        ends = [
            ("eth0", "address", _CLIENT_MAC, "netns", client.name),
            ("eth0", "address", _POD_MAC, "netns", pod.name),
        ]
        _ip("link", "add", *ends[0], "type", "veth", "peer", *ends[1])
        for namespace, (ipv4, ipv6) in ((client, CLIENT_ADDRESSES), (pod, POD_ADDRESSES)):
            _ip("-n", namespace.name, "address", "add", f"{ipv4}/24", "dev", "eth0")
            _ip("-n", namespace.name, "address", "add", f"{ipv6}/64", "dev", "eth0", "nodad")
            _ip("-n", namespace.name, "link", "set", "lo", "up")
            _ip("-n", namespace.name, "link", "set", "eth0", "up")
        # The first neighbour solicitation is often lost while the links come up, and its repetition takes a second.
        for namespace, (_, peer), mac in (
            (client, POD_ADDRESSES, _POD_MAC),
            (pod, CLIENT_ADDRESSES, _CLIENT_MAC),
        ):
            _ip(
                "-n",
                namespace.name,
                "neighbour",
                "replace",
                peer,
                "lladdr",
                mac,
                "dev",
                "eth0",
                "nud",
                "permanent",
            )
        yield Wire(client, pod)
    finally:
        for namespace in (client, pod):
            subprocess.run(["ip", "netns", "del", namespace.name], capture_output=True, check=False)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def _enter(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)  # os.setns came with Python 3.12
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
