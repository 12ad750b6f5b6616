"""Two real network namespaces, `target` and `client`, joined by a veth pair with IPv4 and IPv6.

Needs root and iproute2. Names are unique, and everything is gone at the end of the `with` block.
"""

import contextlib
import ctypes
import functools
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

TARGET_ADDRESSES = TARGET_V4, TARGET_V6 = "10.123.0.1", "fd00:123::1"
CLIENT_ADDRESSES = CLIENT_V4, CLIENT_V6 = "10.123.0.2", "fd00:123::2"

_CLONE_NEWNET = 0x40000000
TARGET_MAC, CLIENT_MAC = "02:00:00:00:00:02", "02:00:00:00:00:01"


@functools.cache
def why_not() -> str:
    """Give the reason why this machine cannot make namespaces; nothing if it can."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "making network namespaces by name takes root"
    if shutil.which("ip") is None:
        return "iproute2 is missing"
    probe = _new_name("probe")
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        return f"ip netns add: {made.stderr.strip()}"
    ip("netns", "delete", probe)
    return ""


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
class Namespaces:
    """The two ends. Each has one interface, `eth0`, besides its loopback."""

    target: Namespace
    client: Namespace

    def command(self, namespace: Namespace, *command: str) -> list[str]:
        """Give a command line that runs in a namespace."""
        return ["ip", "netns", "exec", namespace.name, *command]

    def run_in(self, namespace: Namespace, function: Callable[[], Result]) -> Result:
        """Call a function in a namespace; sockets that it makes stay there."""
        with namespace.entered():
            return function()


@contextlib.contextmanager
def empty_namespaces() -> Iterator[Namespaces]:
    """Make both namespaces, each with nothing but a loopback, and remove them at the end."""
    made = Namespaces(Namespace(_new_name("target")), Namespace(_new_name("client")))
    try:
        for namespace in (made.target, made.client):
            ip("netns", "add", namespace.name)
            ip("-n", namespace.name, "link", "set", "lo", "up")
        yield made
    finally:
        for namespace in (made.target, made.client):
            subprocess.run(["ip", "netns", "delete", namespace.name], capture_output=True, check=False)


@contextlib.contextmanager
def namespaces() -> Iterator[Namespaces]:
    """Make both namespaces and what joins them, and remove them at the end."""
    with empty_namespaces() as made:
        join(made)
        yield made


def join(made: Namespaces) -> None:
    """Make what joins them: an interface in each, with its addresses and the other end's."""
    target_end = ("eth0", "address", TARGET_MAC, "netns", made.target.name)
    client_end = ("eth0", "address", CLIENT_MAC, "netns", made.client.name)
    ip("link", "add", *target_end, "type", "veth", "peer", *client_end)
    for namespace, (ipv4, ipv6) in ((made.target, TARGET_ADDRESSES), (made.client, CLIENT_ADDRESSES)):
        inside = ("-n", namespace.name)
        ip(*inside, "address", "add", f"{ipv4}/24", "dev", "eth0")
        ip(*inside, "address", "add", f"{ipv6}/64", "dev", "eth0", "nodad")
        ip(*inside, "link", "set", "eth0", "up")
    # The first neighbour solicitation is often lost while the links come up, and its repetition takes a second.
    for namespace, (_, peer), mac in (
        (made.target, CLIENT_ADDRESSES, CLIENT_MAC),
        (made.client, TARGET_ADDRESSES, TARGET_MAC),
    ):
        entry = (peer, "lladdr", mac, "dev", "eth0", "nud", "permanent")
        ip("-n", namespace.name, "neighbour", "replace", *entry)


@contextlib.contextmanager
def in_order() -> Iterator[None]:
    """Let packets that this thread sends through veth pairs and tun devices keep their order: each processor queues its own."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _new_name(purpose: str) -> str:
    return f"podmirror-{purpose}-{uuid.uuid4().hex[:8]}"


def ip(*arguments: str) -> None:
    """Run `ip` with these arguments."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def _enter(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)  # os.setns came with Python 3.12
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
