"""Real packets in a network namespace: what is written is what tcpdump saw beside it."""

import asyncio
import contextlib
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from podmirror.errors import NotStarted
from podmirror.link import Link
from podmirror.packetfile import PacketFiles, Rotation
from podmirror.packetrecorder import PacketRecorder
from podmirror.pcapng import Origin, Section
from podmirror_wire.handshake import new_secret, verifier_of
from podmirror_wire.values import EVERY_PORT
from tests.layer.pcapngs import fields, information, needs_tshark
from tests.namespaces import CLIENT_V4, TARGET_V4, TARGET_V6, Namespaces, namespaces, why_not
from tests.streams import SocketStream

pytestmark = [
    pytest.mark.namespaces,
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.skipif(shutil.which("tcpdump") is None, reason="tcpdump is not installed"),
    needs_tshark,
]

AGENT_PORT = 61_234
TOKEN = b"Bearer s3cr3t-0123456789"
# Not the time: what goes out is stamped for each socket by itself.
FIELDS = (
    "frame.len",
    "frame.cap_len",
    "ip.id",
    "tcp.seq_raw",
    "udp.length",
    "icmp.seq",
    "data.data",
)


@pytest.fixture
def made() -> Iterator[Namespaces]:
    with namespaces() as pair:
        yield pair


class WatchedStream(SocketStream):
    """Keeps all that came through the tunnel."""

    received = b""

    async def receive(self) -> bytes:
        data = await super().receive()
        self.received += data
        return data


class Recorded:
    """A session that records packets."""

    def __init__(self, link: Link, stream: WatchedStream, file: Path) -> None:
        self.link = link
        self.stream = stream
        self.file = file


@contextlib.asynccontextmanager
async def recording(
    made: Namespaces, file: Path, port: int = EVERY_PORT, **settings: str
) -> AsyncIterator[Recorded]:
    secret = new_secret()
    arguments = [
        "--ports",
        str(AGENT_PORT),
        "--verifier",
        verifier_of(secret).hex(),
        "--log-level",
        "warning",
    ]
    command = made.command(made.target, sys.executable, "-m", "podmirror_agent", *arguments)
    with subprocess.Popen(command) as process:  # noqa: ASYNC220  # it is there at once
        stream = None
        try:
            stream = await WatchedStream.over(await connected(made))
            link = Link(stream, lambda _: None)
            await link.authenticate(secret)
            recorder = PacketRecorder(PacketFiles(file, Section(Origin("podmirror")), Rotation()))
            link.packet_receiver = recorder.join("web").receive
            link.send_options({"initiator": "lengths", **settings})
            talking = asyncio.create_task(link.run())
            await link.subscribe(port)
            yield Recorded(link, stream, file)
            await asyncio.sleep(0.5)  # for the last block of the ring
            link.say_goodbye("done")
            await talking
            assert await recorder.finish() is None
        finally:
            process.kill()
            if stream is not None:
                await stream.close()


async def connected(made: Namespaces) -> socket.socket:
    while True:
        try:
            return made.run_in(
                made.target, lambda: socket.create_connection(("127.0.0.1", AGENT_PORT), timeout=5)
            )
        except ConnectionRefusedError:
            await asyncio.sleep(0.05)


@contextlib.contextmanager
def tcpdump(made: Namespaces, interface: str, file: Path, *expression: str) -> Iterator[None]:
    """Let tcpdump watch an interface of the target, and stop when it has seen what passes at the end."""
    options = [
        "-i",
        interface,
        "-w",
        str(file),
        "-U",
        "-B",
        "32768",  # KiB
        "-Z",
        "root",
        "--time-stamp-precision=nano",
    ]
    command = made.command(made.target, "tcpdump", *options, *expression)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "listening on" in process.stderr.readline()
        time.sleep(0.2)  # it says so before it does
        try:
            yield
            time.sleep(1.5)  # its buffer is read once a second
        finally:
            process.terminate()


def talk(made: Namespaces, address: str, payload: bytes = b"", repeats: int = 40, port: int = 0) -> None:
    """Speak with the target by TCP, much of it, and by UDP."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    payload = payload or b"GET / HTTP/1.1\r\nAuthorization: " + TOKEN + b"\r\n\r\n" + b"body" * 5000
    with contextlib.ExitStack() as sockets:

        def enter(made_socket: socket.socket) -> socket.socket:
            made_socket.settimeout(10)
            return sockets.enter_context(made_socket)

        listener = enter(
            made.run_in(made.target, lambda: socket.create_server((address, port), family=family))
        )
        client = enter(made.run_in(made.client, lambda: socket.create_connection(listener.getsockname()[:2])))
        server = enter(listener.accept()[0])
        for _ in range(repeats):
            client.sendall(payload)
            received = 0
            while received < len(payload):
                received += len(server.recv(1 << 16))
            server.sendall(payload)
            received = 0
            while received < len(payload):
                received += len(client.recv(1 << 16))
        here = enter(made.run_in(made.target, lambda: socket.socket(family, socket.SOCK_DGRAM)))
        here.bind((address, 0))
        there = enter(made.run_in(made.client, lambda: socket.socket(family, socket.SOCK_DGRAM)))
        for number in range(20):
            there.sendto(b"a question " + TOKEN + bytes((number,)), here.getsockname()[:2])
            here.sendto(b"an answer", here.recvfrom(2000)[1])


def refused() -> None:
    """Speak with nobody on loopback: a SYN and a RST."""
    with socket.socket() as caller:
        assert caller.connect_ex(("127.0.0.1", 9))


def ping(made: Namespaces) -> None:
    subprocess.run(
        made.command(made.target, "ping", "-c", "2", "-i", "0.2", CLIENT_V4), check=True, capture_output=True
    )


def seen(file: Path, interface: str = "") -> Counter[tuple[str, ...]]:
    """Give what a file holds, or what of it is an interface's."""
    rows = fields(file, *FIELDS, "frame.interface_name")
    return Counter(row[:-1] for row in rows if not interface or row[-1] == interface)


async def test_packets_are_those_that_tcpdump_saw_beside(made, tmp_path):
    on_eth0, on_lo = tmp_path / "eth0.pcap", tmp_path / "lo.pcap"
    async with recording(made, tmp_path / "ours.pcapng", packets="whole") as recorded:
        with tcpdump(made, "eth0", on_eth0), tcpdump(made, "lo", on_lo, "not", "port", str(AGENT_PORT)):
            for address in (TARGET_V4, TARGET_V6):
                await asyncio.to_thread(talk, made, address)
            if shutil.which("ping"):
                await asyncio.to_thread(ping, made)
            await asyncio.to_thread(made.run_in, made.target, refused)

    assert recorded.link.counts["packets_unsent"] == recorded.link.counts["kernel_drops"] == 0
    theirs = seen(on_eth0)
    assert theirs.total() > 100
    ours = seen(recorded.file, "web/eth0")
    assert theirs - ours == Counter()
    assert (ours - theirs).total() <= 5  # neighbours' talk before and after
    assert seen(recorded.file, "web/lo") == seen(on_lo)
    assert seen(on_lo).total() >= 2
    directions = {int(way, 0) for (way,) in fields(recorded.file, "frame.packet_flags_direction")}
    assert directions == {1, 2}
    information(recorded.file)


async def test_expression_narrows_packets_as_tcpdump_does(made, tmp_path):
    file = tmp_path / "eth0.pcap"
    expression = "udp and ip and src host " + CLIENT_V4
    async with recording(made, tmp_path / "ours.pcapng", packets="whole", filter=expression) as recorded:
        with tcpdump(made, "eth0", file, *expression.split()):
            for address in (TARGET_V4, TARGET_V6):
                await asyncio.to_thread(talk, made, address)

    assert seen(recorded.file) == seen(file)
    assert seen(file).total() == 20


async def test_port_narrows_packets_to_those_of_its_connections(made, tmp_path):
    file = tmp_path / "eth0.pcap"
    async with recording(made, tmp_path / "ours.pcapng", 8080, packets="whole") as recorded:
        with tcpdump(made, "eth0", file, *["tcp", "port", "8080"]):
            for address in (TARGET_V4, TARGET_V6):
                await asyncio.to_thread(talk, made, address, port=8080)
                await asyncio.to_thread(talk, made, address, port=8081)

    assert recorded.link.counts["packets_unsent"] == recorded.link.counts["kernel_drops"] == 0
    assert seen(recorded.file) == seen(file)
    assert seen(file).total() > 100


async def test_no_payload_crosses_the_tunnel_where_headers_are_asked_for(made, tmp_path):
    async with recording(made, tmp_path / "ours.pcapng", packets="headers", responder="lengths") as recorded:
        for address in (TARGET_V4, TARGET_V6):
            await asyncio.to_thread(talk, made, address)

    assert len(fields(recorded.file, "frame.number")) > 100
    for secret in (TOKEN, b"GET /", b"question", b"answer"):
        assert secret not in recorded.stream.received
        assert secret not in recorded.file.read_bytes()


async def test_filter_that_libpcap_does_not_take_is_refused(made, tmp_path):
    with pytest.raises(
        NotStarted, match="libpcap does not take the filter 'tcp portt 80': can't parse filter"
    ):
        async with recording(made, tmp_path / "ours.pcapng", filter="tcp portt 80"):
            pass
