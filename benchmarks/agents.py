"""The agent under measurement: started as in a pod, with a layer on another core that takes what it sends."""

import contextlib
import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.capture import BUFFER_MEBIBYTES, PORT, Running, Seen
from benchmarks.children import (
    CAPTURE_CORE,
    CHILD_SECONDS,
    LOAD_CORE,
    Child,
    piped,
    python,
    result_of,
    started,
    wait_until_said,
)
from benchmarks.native import BUILD
from podmirror_wire.handshake import new_secret, verifier_of
from tests.namespaces import Namespaces

AGENT_PORT = 61_234
COMPILED_CODE = BUILD / "compiled"
"""Where `make compiled` puts the compiled packages."""


@dataclass
class Agent:
    """An agent that serves a drain."""

    process: Child
    drain: Child

    def settle(self, least: float, most: float = 6.0) -> None:
        """Wait at least and at most so many seconds, until the agent is done with what a load left it."""
        Running([self.process.pid], lambda: Seen(0, 0), least, most).settle()

    def finish(self) -> dict[str, float]:
        """Let the drain say goodbye; give what it counted, with the agent's ledger as `ledger_NAME`.

        Raises:
            RuntimeError: One of the two failed.
        """
        counts: dict[str, object] = dict(result_of(self.drain))
        if self.process.wait(CHILD_SECONDS) != 0:
            raise RuntimeError(f"the agent ended with exit code {self.process.returncode}")
        ledger = counts.pop("ledger")
        assert isinstance(ledger, dict)
        return counts | {f"ledger_{name}": count for name, count in ledger.items()}  # type: ignore[return-value]


@contextlib.contextmanager
def drained(
    made: Namespaces, *options: str, compiled: bool = False, drain_options: tuple[str, ...] = ()
) -> Iterator[Agent]:
    """Run an agent that a drain has subscribed to the port."""
    secret = new_secret()
    with (
        started(
            made.command(made.target, *command_line(secret, *options)),
            CAPTURE_CORE,
            env=environment(compiled=compiled),
        ) as process,
        piped(
            made,
            made.target,
            python("benchmarks.drain", str(AGENT_PORT), str(PORT), *drain_options),
            LOAD_CORE,
        ) as drain,
    ):
        assert drain.stdin is not None
        drain.stdin.write(secret.hex() + "\n")
        drain.stdin.flush()
        wait_until_said(drain, "ready")
        yield Agent(process, drain)


def command_line(secret: bytes, *options: str) -> list[str]:
    """Give the agent's command line, for a session with that secret."""
    session = ("--ports", str(AGENT_PORT), "--verifier", verifier_of(secret).hex())
    return python(
        "podmirror_agent", *session, "--ring", str(BUFFER_MEBIBYTES), "--log-level", "warning", *options
    )


def environment(*, compiled: bool) -> dict[str, str]:
    """Give the environment in which Python finds the compiled packages first, or does not find them."""
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    others = [path for path in paths if path and Path(path) != COMPILED_CODE]
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(COMPILED_CODE), *others] if compiled else others)}


@functools.cache
def why_not_compiled() -> str:
    """Give the reason why there is no compiled agent; nothing if there is one."""
    if not list(COMPILED_CODE.glob("podmirror_agent/**/*.so")):
        return "build/compiled holds no compiled agent (make compiled)"
    asks = [sys.executable, "-c", "import podmirror_agent.program as it; print(it.__file__)"]
    done = subprocess.run(asks, env=environment(compiled=True), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return f"what is in build/compiled cannot be imported: {done.stderr.strip().splitlines()[-1]}"
    found = Path(done.stdout.strip())
    return "" if COMPILED_CODE in found.parents else f"Python finds {found}, not what is in build/compiled"


@functools.cache
def understands(option: str, *, compiled: bool) -> bool:
    """Whether the agent has a command-line option."""
    told = subprocess.run(
        python("podmirror_agent", "--help"),
        env=environment(compiled=compiled),
        capture_output=True,
        text=True,
        check=False,
    )
    return option in told.stdout


@contextlib.contextmanager
def _captured(made: Namespaces, *, compiled: bool) -> Iterator[Running]:
    with drained(made, compiled=compiled) as agent:

        def stop() -> Seen:
            counts = agent.finish()
            return Seen(int(counts["ledger_packets"]), int(counts["ledger_kernel_drops"]), counts)

        yield Running([agent.process.pid], stop)


def plain(made: Namespaces) -> contextlib.AbstractContextManager[Running]:
    """The agent in plain Python."""
    return _captured(made, compiled=False)


def compiled(made: Namespaces) -> contextlib.AbstractContextManager[Running]:
    """The agent, compiled."""
    return _captured(made, compiled=True)
