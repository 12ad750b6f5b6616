"""Bodies sent through a namespace with an agent in it, and what the agent told of them, held against what was sent.

What is sent is different at every position, so that bytes that were left out or put in the wrong place show.
"""

import asyncio
import contextlib
import hashlib
import random
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

from podmirror.link import ConnectionFrame, Link
from podmirror_wire.frames import Closed, Data, Ended, Gap, Omitted, Opened
from podmirror_wire.handshake import new_secret, verifier_of
from podmirror_wire.values import Direction, Endpoint
from tests.namespaces import Namespaces
from tests.streams import SocketStream

APP_PORT, AGENT_PORT = 8080, 61_234
CHUNK = 64 * 1024
AHEAD = 128 * 1024
"""Bytes of each direction that a client may be ahead of what the agent has told: the agent's ring holds them, so that it loses
nothing however long it gets no processor."""
LARGE_RING = ("--ring", "128")
"""Of 512 blocks, for many small packets that come slowly: then each takes up a block of its own."""

NOWHERE = Endpoint("", 0)

APP = """
    import hashlib, random, socket, sys, threading

    def serve(connection):
        # Reads to the initiator's FIN, and answers with as many bytes as the first 8 of the request say, from its seed.
        digest, size = hashlib.sha256(), 0
        head = b""
        try:
            while data := connection.recv(1 << 20):
                head += data[: 16 - len(head)] if len(head) < 16 else b""
                digest.update(data)
                size += len(data)
            seed, answer = int.from_bytes(head[:8], "big"), int.from_bytes(head[8:16], "big")
            connection.sendall(random.Random(seed).randbytes(answer) + digest.digest())
        except OSError as error:
            print(error, file=sys.stderr)
        connection.close()

    listener = socket.create_server(("", 8080), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512)
    print("ready", flush=True)
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


@dataclass
class Sent:
    """A connection as its client knows it."""

    body: bytes
    answer: bytes
    """What the app says before the digest of what it received."""
    end: Endpoint = NOWHERE
    """The client's own; its port alone may be in use with another address, too."""
    received: bytes = b""

    @classmethod
    def planned(cls, seed: int, size: int, answer: int = 0) -> "Sent":
        """Make a body of `size` bytes, of which the first 16 ask for the answer."""
        body = seed.to_bytes(8) + answer.to_bytes(8) + random.Random(~seed).randbytes(max(size - 16, 0))
        return cls(body, random.Random(seed).randbytes(answer))

    @property
    def whole_answer(self) -> bytes:
        return self.answer + hashlib.sha256(self.body).digest()


def send(made: Namespaces, address: str, sent: Sent, *, watch: "Watch | None" = None) -> None:
    """Send the body, and take the answer; as fast as it goes, or never far ahead of what the agent tells."""
    with connect(made, address) as connection:
        converse(connection, sent, watch=watch)


def converse(connection: socket.socket, sent: Sent, *, watch: "Watch | None") -> None:
    """Do so on a connection that is made."""
    sent.end = Endpoint(*connection.getsockname()[:2])
    if watch is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, AHEAD)
    for start in range(0, len(sent.body), CHUNK):
        if watch is not None:
            watch.wait_for(sent.end, Direction.TO_RESPONDER, start - AHEAD)
        connection.sendall(memoryview(sent.body)[start : start + CHUNK])
    connection.shutdown(socket.SHUT_WR)
    pieces, length = [], 0
    while piece := connection.recv(1 << 20):
        pieces.append(piece)
        length += len(piece)
        if watch is not None:
            watch.wait_for(sent.end, Direction.TO_INITIATOR, length - AHEAD)
    sent.received = b"".join(pieces)


def connect(made: Namespaces, address: str) -> socket.socket:
    return made.run_in(made.client, lambda: socket.create_connection((address, APP_PORT), timeout=30))


def send_all(connection: socket.socket, body: bytes) -> None:
    for start in range(0, len(body), CHUNK):
        connection.sendall(memoryview(body)[start : start + CHUNK])


def read_to_end(connection: socket.socket) -> bytes:
    pieces = []
    while piece := connection.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


@dataclass
class Told:
    """A connection as the agent tells of it."""

    opened: Opened
    streams: tuple[list[Data | Gap | Omitted], list[Data | Gap | Omitted]] = field(
        default_factory=lambda: ([], [])
    )
    ended: dict[Direction, int] = field(default_factory=dict)
    closed: Closed | None = None

    def bytes_of(self, direction: Direction) -> int:
        return sum(len(each.payload) for each in self.streams[direction] if isinstance(each, Data))

    def gap_bytes_of(self, direction: Direction) -> int:
        return sum(each.length for each in self.streams[direction] if isinstance(each, Gap))

    def check(self, direction: Direction, truth: bytes, *, start: int = 0) -> None:
        """Hold a direction against what was sent: what was told follows each other, and is true; it begins at `start`."""
        position = 0
        for each in self.streams[direction]:
            assert each.offset == position, f"{each.offset} is told behind {position}"
            if isinstance(each, Data):
                there = truth[start + position : start + position + len(each.payload)]
                assert there == each.payload, f"other bytes than were sent, at {start + position}"
                position += len(each.payload)
            else:
                position += each.length
        assert start + position <= len(truth), "more than was sent"

    def check_whole(self, direction: Direction, truth: bytes) -> None:
        """The same, with nothing missing."""
        assert [each for each in self.streams[direction] if not isinstance(each, Data)] == []
        self.check(direction, truth)
        told = b"".join(each.payload for each in self.streams[direction] if isinstance(each, Data))
        assert hashlib.sha256(told).digest() == hashlib.sha256(truth).digest()
        assert self.ended.get(direction) == len(truth)


class Watch:
    """Keeps all that a session is told, and gives the credit back, or has somebody else do so."""

    def __init__(self) -> None:
        self.told: dict[int, Told] = {}
        self.reached: dict[tuple[Endpoint, Direction], int] = {}
        """How far was told of each direction, by the initiator."""
        self.receiver: Callable[[ConnectionFrame], None] | None = None
        self.link: Link | None = None
        self._changed = asyncio.Event()

    def receive_frame(self, frame: ConnectionFrame) -> None:
        match frame:
            case Opened():
                self.told[frame.connection] = Told(frame)
            case Data() | Gap() | Omitted():
                told = self.told[frame.connection]
                told.streams[frame.direction].append(frame)
                length = len(frame.payload) if isinstance(frame, Data) else frame.length
                self.reached[told.opened.initiator, frame.direction] = frame.offset + length
            case Ended():
                self.told[frame.connection].ended[frame.direction] = frame.offset
            case Closed():
                self.told[frame.connection].closed = frame
        if self.receiver is not None:
            self.receiver(frame)
        elif isinstance(frame, Data):
            assert self.link is not None, "it is set before the link runs"
            self.link.give_credit(frame.connection, len(frame.payload))
        self._changed.set()

    def wait_for(self, initiator: Endpoint, direction: Direction, position: int) -> None:
        """Wait, in another thread than the session's, until a direction was told as far as that."""
        while self.reached.get((initiator, direction), 0) < position:
            time.sleep(0.001)

    async def until(self, condition: Callable[[], bool], seconds: float = 40.0) -> None:
        """Wait for something to be so."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_quiet(self, seconds: float = 1.0) -> None:
        """Wait until nothing was told for so long: the agent has come to the ring's end."""
        with contextlib.suppress(TimeoutError):
            while True:
                self._changed.clear()
                async with asyncio.timeout(seconds):
                    await self._changed.wait()

    async def until_closed(self, connections: int, seconds: float = 40.0) -> None:
        """Wait for so many connections to have ended."""
        await self.until(
            lambda: sum(each.closed is not None for each in self.told.values()) >= connections, seconds
        )

    def of(self, sent: Sent) -> Told:
        """Give the one connection that the agent tells of from a client's end."""
        (told,) = (each for each in self.told.values() if each.opened.initiator == sent.end)
        return told


@dataclass
class Mirrored:
    """A session with an agent in the target's namespace, subscribed to the app's port."""

    watch: Watch
    link: Link
    running: "asyncio.Task[str]"
    process: "subprocess.Popen[bytes]"

    @property
    def counts(self) -> dict[str, int]:
        """The agent's ledger, complete after `finish`."""
        return self.link.counts

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Let the agent get no processor: what passes stays in its ring, or is lost."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    async def finish(self) -> None:
        """Say goodbye, and wait for the last ledger."""
        self.link.say_goodbye("done")
        await asyncio.wait_for(self.running, 10)

    def check_lossless(self) -> None:
        """Hold the agent's ledger to nothing."""
        names = (
            "kernel_drops",
            "gaps",
            "gap_bytes",
            "cut_connections",
            "late_joins",
            "fragments_lost",
            "malformed",
        )
        assert {name: self.counts.get(name, 0) for name in names} == dict.fromkeys(names, 0)


@contextlib.asynccontextmanager
async def mirrored(
    made: Namespaces,
    *arguments: str,
    window: int = 16 << 20,
    settings: dict[str, str] | None = None,
    tap: bytearray | None = None,
) -> AsyncIterator[Mirrored]:
    """Run an agent with these arguments, and a session with it that wants both directions.

    Args:
        made: Where.
        arguments: More of them for the agent.
        window: Credit of a connection in bytes.
        settings: More options for the session.
        tap: Given every byte that the agent sends through the tunnel.
    """
    secret = new_secret()
    command = [sys.executable, "-m", "podmirror_agent", "--ports", str(AGENT_PORT), "-t", "30"]
    command += ["--verifier", verifier_of(secret).hex(), "--log-level", "warning", *arguments]
    with subprocess.Popen(made.command(made.target, *command)) as process:  # noqa: ASYNC220  # starting takes no time
        try:
            stream = await SocketStream.over(await connect_agent(made, process), tap)
            watch = Watch()
            link = watch.link = Link(stream, watch.receive_frame)
            await link.authenticate(secret)
            running = asyncio.create_task(link.run(), name="link")
            link.send_options({"responder": "bytes", "window": str(window), **(settings or {})})
            await link.subscribe(APP_PORT)
            try:
                yield Mirrored(watch, link, running, process)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                await stream.close()
        finally:
            process.kill()


@contextlib.contextmanager
def serving(made: Namespaces, app: str = APP) -> Iterator[None]:
    """Run an app in the target's namespace: a program that says when it is ready."""
    command = made.command(made.target, sys.executable, "-c", textwrap.dedent(app))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield
        finally:
            process.kill()


async def transfer(made: Namespaces, address: str, sent: list[Sent], *, watch: Watch | None = None) -> None:
    """Send everything at once, each on a connection of its own, and see that the app's answers are right."""
    async with asyncio.TaskGroup() as group:
        for each in sent:
            group.create_task(asyncio.to_thread(send, made, address, each, watch=watch))
    for each in sent:
        assert each.received == each.whole_answer, "the app itself received or said something else"


async def connect_agent(made: Namespaces, process: "subprocess.Popen[bytes]") -> socket.socket:
    """Connect to the agent in the target's namespace as soon as it listens."""
    address = ("127.0.0.1", AGENT_PORT)
    while True:
        try:
            return made.run_in(made.target, lambda: socket.create_connection(address, timeout=5))
        except ConnectionRefusedError:
            assert process.poll() is None, "the agent ended"
            await asyncio.sleep(0.05)
