"""What the agent takes before it does anything: time to start, memory, and the image's size."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

from benchmarks import agents
from benchmarks.captures import AGENT, COMPILED
from benchmarks.children import CAPTURE_CORE, CHILD_SECONDS, resident_bytes, started
from benchmarks.comparison import usable_captures
from benchmarks.loads import quiet_namespaces
from benchmarks.rows import Row
from benchmarks.sections import Asked, Column, Section
from podmirror_wire.handshake import new_secret
from podmirror_wire.version import __version__
from tests.namespaces import Namespaces

IMAGE = f"podmirror-agent:{__version__}"
LOOK_SECONDS = 0.001


def measure(asked: Asked) -> Iterator[Row]:
    """Start the agent, plain and compiled in turn, and look for the image."""
    names = usable_captures(asked, (AGENT, COMPILED))
    with quiet_namespaces() as made:
        for repeat in range(asked.repeats):
            for name in names[repeat % len(names) :] + names[: repeat % len(names)]:
                asked.tell(f"footprint, repeat {repeat + 1} of {asked.repeats}: {name}")
                values = _start_once(made, compiled=name == COMPILED)
                yield Row("footprint", "an agent that starts and idles", name, repeat, values)
    tool, size = image_bytes()
    if tool:
        yield Row("footprint", "the image", f"{IMAGE} ({tool})", 0, {"image_bytes": size})
    else:
        asked.tell(f"the image's size: left out, no docker, podman or buildah here has {IMAGE} (make image)")


def _start_once(made: Namespaces, *, compiled: bool) -> dict[str, float]:
    """Start an agent and measure until its port accepts, and until it has greeted."""
    secret = new_secret()
    command = made.command(made.target, *agents.command_line(secret))
    began = time.monotonic()
    with (
        started(command, CAPTURE_CORE, env=agents.environment(compiled=compiled)) as process,
        made.run_in(made.target, lambda: _connect(began + CHILD_SECONDS)) as connection,
    ):
        listening = time.monotonic() - began
        connection.settimeout(CHILD_SECONDS)
        if not connection.recv(1):
            raise RuntimeError("the agent hung up before its greeting")
        greeted = time.monotonic() - began
        other, rings = resident_bytes(process.pid)
    return {
        "listening_seconds": listening,
        "greeted_seconds": greeted,
        "resident_bytes": other,
        "ring_bytes": rings,
    }


def _connect(deadline: float) -> socket.socket:
    while True:
        try:
            return socket.create_connection(("127.0.0.1", agents.AGENT_PORT))
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the agent did not listen within {CHILD_SECONDS:g} s") from None
            time.sleep(LOOK_SECONDS)


def image_bytes() -> tuple[str, int]:
    """Give the tool that has the agent's image, and the image's size; an empty name if none has."""
    for tool in ("docker", "podman", "buildah"):
        if shutil.which(tool):
            inspect = [tool, "inspect", "--type", "image"]
            command = [*inspect, "--format", "{{.Size}}", IMAGE]
            if tool == "buildah":  # whose inspect knows no size
                command = [tool, "images", "--format", "{{.Size}}", IMAGE]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0 and done.stdout.strip():
                return tool, parse_size(done.stdout)
    return "", 0


def parse_size(text: str) -> int:
    """Give the bytes of a size as docker or podman (a number) or buildah (as in `94.3 MB`) writes it."""
    number, _, unit = text.strip().partition(" ")
    factor: int = 1000 ** ["", "KB", "MB", "GB"].index(unit.upper())
    return round(float(number) * factor)


FOOTPRINT_SECTION = Section(
    "footprint",
    "Start, memory, image",
    (
        Column("s to listening", "listening_seconds"),
        Column("s to greeting", "greeted_seconds"),
        Column("RSS MiB, ring apart", "resident_bytes", factor=1 / (1 << 20)),
        Column("ring MiB", "ring_bytes", factor=1 / (1 << 20)),
        Column("image MB", "image_bytes", factor=1e-6),
    ),
    measure,
    needs_compiler=False,
)
