"""From real packets in a network namespace to a local process: everything but Kubernetes.

A thousand connections, over IPv4 and IPv6, with bodies from nothing to a mebibyte, half-closed or reset by either side. The app
says what it received, the local process what arrived there, and the two must agree to the last byte.
"""

import asyncio
import hashlib
import json
import random
import socket
import struct
import subprocess
import sys
import textwrap
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from podmirror.delivery import Delivery
from podmirror.ledger import LayerLedger
from podmirror.link import ConnectionFrame, Link
from podmirror_wire.frames import Closed, Data, Opened
from podmirror_wire.handshake import new_secret, verifier_of
from podmirror_wire.values import CloseReason, Direction, Endpoint
from tests.namespaces import TARGET_V4, TARGET_V6, Namespaces, namespaces, why_not
from tests.streams import SocketStream
from tests.transfers import AGENT_PORT, APP_PORT, connect_agent

pytestmark = [
    pytest.mark.namespaces,
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.timeout(150),
]

CONNECTIONS = 1000
CONCURRENCY = 20
TAG_BYTES = 8

APP = """
    import asyncio, hashlib, json, sys

    async def serve(reader, writer):
        # Reads to the initiator's FIN; answers each request as it is complete: SHA-256 of all received so far, times as asked.
        digest, received = hashlib.sha256(), 0
        tag = b""
        try:
            tag = await reader.readexactly(8)
            while data := await reader.read(65536):
                digest.update(data)
                received += len(data)
            answer = (digest.hexdigest().encode() * 64)[: 64 * (1 + received % 64)]
            writer.write(answer)
            await writer.drain()
            end = "fin"
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            end = type(error).__name__
        told.append(json.dumps([tag.hex(), received, digest.hexdigest(), end]))
        writer.close()

    async def main():
        server = await asyncio.start_server(serve, "", 8080, backlog=256)
        async with server:
            print("ready", flush=True)
            await asyncio.get_running_loop().connect_read_pipe(Ended, sys.stdin)
            await ended.wait()
        print(*told, sep=chr(10), flush=True)

    told = []
    ended = asyncio.Event()

    class Ended(asyncio.Protocol):
        def eof_received(self):
            ended.set()

    asyncio.run(main())
"""


@dataclass
class Received:
    """What one end received of a connection."""

    size: int = 0
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    end: str = ""

    def take(self, data: bytes) -> None:
        self.size += len(data)
        self.digest.update(data)

    @property
    def summary(self) -> tuple[int, str]:
        return self.size, self.digest.hexdigest()


@pytest.fixture
def made() -> Iterator[Namespaces]:
    with namespaces() as pair:
        yield pair


@pytest.fixture
def secret() -> bytes:
    return new_secret()


@pytest.fixture
def agent(made: Namespaces, secret: bytes) -> Iterator["subprocess.Popen[bytes]"]:
    arguments = [
        "--ports",
        str(AGENT_PORT),
        "--verifier",
        verifier_of(secret).hex(),
        "-t",
        "30",
        "--log-level",
        "warning",
    ]
    with subprocess.Popen(
        made.command(made.target, sys.executable, "-m", "podmirror_agent", *arguments)
    ) as process:
        yield process
        process.kill()


@pytest.fixture
def app(made: Namespaces) -> Iterator["subprocess.Popen[str]"]:
    command = made.command(made.target, sys.executable, "-c", textwrap.dedent(APP))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


class LocalProcess:
    """The local process: keeps what arrives, by the tag that each connection begins with."""

    def __init__(self) -> None:
        self.received: dict[bytes, Received] = {}
        self.serving: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        task.add_done_callback(self.serving.discard)
        try:
            tag = await reader.readexactly(TAG_BYTES)
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()
            return
        mine = self.received.setdefault(tag, Received())
        try:
            while data := await reader.read(65536):
                mine.take(data)
            mine.end = "fin"
            writer.write(b"an answer that nobody reads")
        except ConnectionError:
            mine.end = "rst"
        writer.close()


class Observer:
    """Keeps the responder's bytes as the layer's events carry them, by the tag of the initiator's."""

    def __init__(self) -> None:
        self.delivery: Delivery | None = None
        self._beginnings: dict[int, bytes] = {}
        self._answers: dict[int, Received] = {}
        self.answers: dict[bytes, Received] = {}
        self.closed: dict[bytes, CloseReason] = {}
        self._initiators: dict[int, Endpoint] = {}
        self.ended: defaultdict[Endpoint, asyncio.Event] = defaultdict(asyncio.Event)
        """By the initiator."""

    def receive_frame(self, frame: ConnectionFrame) -> None:
        match frame:
            case Opened():
                self._beginnings[frame.connection] = b""
                self._answers[frame.connection] = Received()
                self._initiators[frame.connection] = frame.initiator
            case Data(direction=Direction.TO_RESPONDER) if (
                len(self._beginnings[frame.connection]) < TAG_BYTES
            ):
                self._beginnings[frame.connection] += frame.payload
            case Data(direction=Direction.TO_INITIATOR):
                self._answers[frame.connection].take(frame.payload)
            case Closed():
                tag = self._beginnings[frame.connection][:TAG_BYTES]
                self.answers[tag] = self._answers[frame.connection]
                self.closed[tag] = frame.reason
                self.ended[self._initiators[frame.connection]].set()
        assert self.delivery is not None, "it is set before the link runs"
        self.delivery.receive_frame(frame)


@dataclass
class Sent:
    """What the client did on one connection, and what it got."""

    tag: bytes
    body: bytes
    ending: str
    answer: bytes = b""


def plan(number: int, chosen: random.Random) -> Sent:
    size = chosen.choice(
        (0, 1, 100, chosen.randrange(20_000), chosen.randrange(20_000), 1 << 20 if number % 25 == 0 else 3)
    )
    ending = "rst" if number % 10 == 9 else "fin"
    return Sent(number.to_bytes(TAG_BYTES), chosen.randbytes(size), ending)


async def send(made: Namespaces, sent: Sent) -> Endpoint:
    address = (TARGET_V6 if sent.tag[-1] % 2 else TARGET_V4, APP_PORT)
    raw = made.run_in(made.client, lambda: socket.create_connection(address, timeout=30))
    end = Endpoint(*raw.getsockname()[:2])
    raw.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=raw)
    writer.write(sent.tag + sent.body)
    await writer.drain()
    if sent.ending == "rst":
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        return end
    writer.write_eof()
    sent.answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return end


async def test_a_thousand_connections_arrive_byte_for_byte(
    made: Namespaces, secret: bytes, agent: "subprocess.Popen[bytes]", app: "subprocess.Popen[str]"
) -> None:
    local = LocalProcess()
    server = await asyncio.start_server(local.serve, "127.0.0.1", 0, backlog=256)
    ledger = LayerLedger()
    observer = Observer()
    stream = await SocketStream.over(await connect_agent(made, agent))
    link = Link(stream, observer.receive_frame)
    delivery = observer.delivery = Delivery(ledger, link.give_credit)
    delivery.map_port(APP_PORT, server.sockets[0].getsockname()[1])
    await link.authenticate(secret)
    running = asyncio.create_task(link.run())
    link.send_options({"responder": "bytes"})
    await link.subscribe(APP_PORT)

    chosen = random.Random(20261121)
    everything = [plan(number, chosen) for number in range(CONNECTIONS)]
    turn = asyncio.Semaphore(CONCURRENCY)

    async def send_in_turn(sent: Sent) -> None:
        async with (
            turn
        ):  # until the agent has told all, so that its ring never has to hold more than those under way
            end = await send(made, sent)
            await observer.ended[end].wait()

    await asyncio.gather(*map(send_in_turn, everything))
    link.say_goodbye("done")
    await running
    await stream.close()
    await delivery.finish(30)
    server.close()
    await asyncio.gather(*local.serving)
    assert app.stdin is not None
    assert app.stdout is not None
    app.stdin.close()
    told = {tag: (size, digest, end) for tag, size, digest, end in map(json.loads, app.stdout)}

    assert link.counts["kernel_drops"] == 0
    assert link.counts["gaps"] == 0
    assert ledger.lost == 0
    for sent in everything:
        there, here = told.get(sent.tag.hex()), local.received.get(sent.tag, Received())
        if sent.ending == "fin":
            truth = (len(sent.body), hashlib.sha256(sent.body).hexdigest())
            assert there == (*truth, "fin")
            assert sent.answer == (truth[1].encode() * 64)[: 64 * (1 + len(sent.body) % 64)]
            assert here.summary == truth
            assert here.end == "fin"
            assert observer.closed[sent.tag] is CloseReason.FINISHED
            assert observer.answers[sent.tag].summary == (
                len(sent.answer),
                hashlib.sha256(sent.answer).hexdigest(),
            )
        elif sent.tag in observer.closed:
            assert observer.closed[sent.tag] is CloseReason.RESET_BY_INITIATOR
            assert here.summary == (here.size, hashlib.sha256(sent.body[: here.size]).hexdigest())
            if sent.tag in local.received:
                assert here.end == "rst"
