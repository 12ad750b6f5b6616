"""An agent that reads a capture file, as a process of this machine, and the conversation with it.

The import name is the agent's only tie here: it runs as a program of its own, as it does beside a pod, and is talked with over
a socket. The socket is made here and inherited, so that there is no port to agree on, and the secret is asked for all the same.
"""

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from podmirror.bytestream import SocketStream
from podmirror.errors import AgentLost, NotStarted, TunnelLost
from podmirror.link import Link
from podmirror_wire.frames import ConnectionFrame
from podmirror_wire.handshake import new_secret, verifier_of

START_SECONDS = 10.0
"""For Python to start and scapy to be imported, several times over."""

END_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Reading:
    """How a capture file is read."""

    file: str
    """Its path; `-` for the standard input."""
    speed: float | None = None
    """How many times as fast as it was captured; None for as fast as it goes."""
    times: int = 1
    """How often."""
    subscriptions: int = 1
    """Ports that must be subscribed before it begins."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Options of the conversation (docs/protocol.md, Options)."""


class _AgentStream(SocketStream):
    """The agent's socket as the link's stream."""

    async def receive(self) -> bytes:
        try:
            return await super().receive()
        except OSError as error:
            raise TunnelLost(f"the agent's socket broke: {error}") from error

    async def send(self, data: bytes) -> None:
        try:
            await super().send(data)
        except OSError as error:
            raise TunnelLost(f"the agent's socket broke: {error}") from error


class LocalAgent:
    """The process, and what it left to say."""

    def __init__(self, process: asyncio.subprocess.Process, last_words: Path) -> None:
        self._process = process
        self._last_words = last_words

    async def explain(self) -> str:
        """Say why it ended, if it has."""
        with suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await self._process.wait()
        try:
            return str(json.loads(self._last_words.read_text())["reason"])
        except (OSError, ValueError, KeyError):
            return ""


@asynccontextmanager
async def start(
    reading: Reading, receiver: Callable[[ConnectionFrame], None]
) -> AsyncIterator[tuple[LocalAgent, Link]]:
    """Start the agent and authenticate; at the end it is gone.

    Args:
        reading: What it is to read.
        receiver: Given every frame of the connections, in order.

    Raises:
        NotStarted: The file cannot be read, or the agent did not start.
    """
    secret = new_secret()
    with tempfile.TemporaryDirectory(prefix="podmirror-") as folder:
        last_words = Path(folder) / "last-words"
        last_words.touch()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "podmirror_agent.reader",
                *_arguments(reading, listener, verifier_of(secret)),
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=[listener.fileno()],
                env={**os.environ, "PODMIRROR_TERMINATION_LOG": str(last_words)},
            )
            address = listener.getsockname()
        agent = LocalAgent(process, last_words)
        try:
            yield agent, await _connect(agent, process, address, secret, receiver, _patience(reading))
        finally:
            await _end(process)


def _arguments(reading: Reading, listener: socket.socket, verifier: bytes) -> list[str]:
    arguments = ["--listener", str(listener.fileno()), "--verifier", verifier.hex()]
    if reading.speed is not None:
        arguments += ["--speed", str(reading.speed)]
    arguments += ["--times", str(reading.times), "--subscriptions", str(reading.subscriptions)]
    return [*arguments, "--", reading.file]


def _patience(reading: Reading) -> float | None:
    """Give for how long an agent may start, in seconds; None for any time, where it waits for whoever writes to a pipe."""
    return START_SECONDS if Path(reading.file).is_file() else None


async def _connect(
    agent: LocalAgent,
    process: asyncio.subprocess.Process,
    address: tuple[str, int],
    secret: bytes,
    receiver: Callable[[ConnectionFrame], None],
    patience: float | None,
) -> Link:
    """Connect: the listener is there before the agent is, so this waits for it to start, or to end."""
    ended = asyncio.create_task(process.wait(), name="the agent's end")
    connecting = asyncio.create_task(_authenticate(address, secret, receiver), name="connect to the agent")
    try:
        async with asyncio.timeout(patience):
            await asyncio.wait({ended, connecting}, return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done() or connecting.exception() is not None:
                raise NotStarted(await agent.explain() or "the agent that reads the file did not start")
    except TimeoutError:
        raise NotStarted(f"the agent that reads the file did not start within {patience:g} s") from None
    finally:
        for task in (ended, connecting):
            task.cancel()
        await asyncio.gather(ended, connecting, return_exceptions=True)
    return connecting.result()


async def _authenticate(
    address: tuple[str, int], secret: bytes, receiver: Callable[[ConnectionFrame], None]
) -> Link:
    reader, writer = await asyncio.open_connection(*address)
    link = Link(_AgentStream(reader, writer), receiver)
    try:
        await link.authenticate(secret)
    except (AgentLost, OSError):
        writer.close()
        raise
    return link


async def _end(process: asyncio.subprocess.Process) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.send_signal(how)
        with suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await process.wait()
            return
