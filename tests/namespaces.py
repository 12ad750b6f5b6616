"""Two network namespaces joined by a veth pair, for tests with real packets."""

import ctypes
import os
import shutil
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

TARGET_V4, CLIENT_V4 = "10.123.0.1", "10.123.0.2"
TARGET_V6, CLIENT_V6 = "fd00:123::1", "fd00:123::2"


def why_not() -> str:
    """Say what is missing for namespaces; nothing if they can be made."""
    if os.geteuid() != 0:
        return "making network namespaces by name takes root"
    return "" if shutil.which("ip") else "iproute2 is missing"


@dataclass(frozen=True)
class Namespaces:
    """The names of the two namespaces."""

    target: str
    client: str

    def command(self, namespace: str, *command: str) -> list[str]:
        """Give a command line that runs in a namespace."""
        return ["ip", "netns", "exec", namespace, *command]

    def run_in(self, namespace: str, function: Callable[[], Result]) -> Result:
        """Call a function in a thread that has entered a namespace; sockets that it makes stay there."""
        results: list[Result] = []
        errors: list[BaseException] = []

        def enter() -> None:
            descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
            try:
                assert ctypes.CDLL(None, use_errno=True).setns(descriptor, 0) == 0
                results.append(function())
            except BaseException as error:  # noqa: BLE001  # raised in the caller
                errors.append(error)
            finally:
                os.close(descriptor)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]


@contextmanager
def namespaces() -> Iterator[Namespaces]:
    """Make two namespaces with IPv4 and IPv6 between them, and remove them at the end."""
    tag = uuid.uuid4().hex[:6]
    made = Namespaces(f"pmt-{tag}", f"pmc-{tag}")
    try:
        for name in (made.target, made.client):
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip(
            "link",
            "add",
            "eth0",
            "netns",
            made.target,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            made.client,
        )
        for name, v4, v6 in ((made.target, TARGET_V4, TARGET_V6), (made.client, CLIENT_V4, CLIENT_V6)):
            _ip("-n", name, "address", "add", f"{v4}/24", "dev", "eth0")
            _ip("-n", name, "address", "add", f"{v6}/64", "dev", "eth0", "nodad")
            _ip("-n", name, "link", "set", "eth0", "up")
        yield made
    finally:
        for name in (made.target, made.client):
            if Path(f"/run/netns/{name}").exists():
                _ip("netns", "delete", name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
