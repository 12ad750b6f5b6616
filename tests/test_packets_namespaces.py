"""Real packets in a network namespace: what is written is what tcpdump saw beside it."""

import asyncio
import contextlib
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from podmirror.errors import NotStarted
from podmirror.link import Link
from podmirror.packetfile import PacketFiles, Rotation
from podmirror.packetrecorder import PacketRecorder
from podmirror.pcapng import Origin, Section
from podmirror_wire.frames import PacketFrame
from podmirror_wire.handshake import new_secret, verifier_of
from podmirror_wire.values import EVERY_PORT
from tests.layer.pcapngs import fields, information, needs_tshark
from tests.namespaces import CLIENT_V4, TARGET_V4, TARGET_V6, Namespaces, namespaces, why_not
from tests.streams import SocketStream
from tests.tcpdumps import MARK, Dump, from_client, from_target, mark_of, tcpdumps
from tests.transfers import AGENT_PORT, connect_agent

pytestmark = [
    pytest.mark.namespaces,
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.skipif(shutil.which("tcpdump") is None, reason="tcpdump is not installed"),
    needs_tshark,
]

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
        self.packets = 0

    async def until(self, fact: Callable[[], bool]) -> None:
        """Wait for something to be so of what has come through the tunnel: the ring's last block comes a little late."""
        while not fact():  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(0.01)


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
            stream = await WatchedStream.over(await connect_agent(made, process))
            link = Link(stream, lambda _: None)
            await link.authenticate(secret)
            recorder = PacketRecorder(PacketFiles(file, Section(Origin("podmirror")), Rotation()))
            recorded = Recorded(link, stream, file)
            receive = recorder.join("web").receive

            def count(frame: PacketFrame) -> None:
                recorded.packets += 1
                receive(frame)

            link.packet_receiver = count
            link.send_options({"initiator": "lengths", **settings})
            talking = asyncio.create_task(link.run())
            await link.subscribe(port)
            yield recorded
            link.say_goodbye("done")
            await talking
            assert await recorder.finish() is None
        finally:
            process.kill()
            if stream is not None:
                await stream.close()


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


Row = tuple[str, ...]


def rows(file: Path, interface: str = "") -> list[Row]:
    """Give what a file holds, or what of it is an interface's, with the marks."""
    found = fields(file, *FIELDS, "frame.interface_name")
    return [tuple(row[:-1]) for row in found if not interface or row[-1] == interface]


def mark(row: Row) -> str:
    return mark_of(bytes.fromhex(row[-1].replace(":", "")))


def apart_from_marks(found: list[Row]) -> Counter[Row]:
    return Counter(row for row in found if not mark(row))


def between(found: list[Row], begin: str) -> Counter[Row]:
    """Give what is between a mark and the end, without the marks."""
    marks = [mark(row) for row in found]
    return apart_from_marks(found[marks.index(begin) : marks.index("end")])


def check_same(ours: list[Row], theirs: list[Row], total: int) -> None:
    """What either saw between the marks, the other saw, too: there are packets before and behind that only one of them saw.

    Two packets that cross each other may come in another order to another socket, so the other is looked at as a whole.
    """
    begin = next(mark(row) for row in reversed(theirs) if mark(row).startswith("begin"))
    assert between(theirs, begin) - apart_from_marks(ours) == Counter()
    assert between(ours, begin) - apart_from_marks(theirs) == Counter()
    assert between(theirs, begin).total() >= total


async def test_packets_are_those_that_tcpdump_saw_beside(made, tmp_path):
    eth0 = Dump(tmp_path / "eth0.pcap", from_client(made, TARGET_V4))
    lo = Dump(tmp_path / "lo.pcap", from_target(made, "127.0.0.1"), "lo", f"not port {AGENT_PORT}")
    async with recording(made, tmp_path / "ours.pcapng", packets="whole") as recorded:
        with tcpdumps(made, eth0, lo):
            for address in (TARGET_V4, TARGET_V6):
                await asyncio.to_thread(talk, made, address)
            if shutil.which("ping"):
                await asyncio.to_thread(ping, made)
            await asyncio.to_thread(made.run_in, made.target, refused)
        await recorded.until(lambda: recorded.stream.received.count(MARK + b"end") == 2)

    assert recorded.link.counts["packets_unsent"] == recorded.link.counts["kernel_drops"] == 0
    check_same(rows(recorded.file, "web/eth0"), rows(eth0.file), 100)
    check_same(rows(recorded.file, "web/lo"), rows(lo.file), 2)
    directions = {int(way, 0) for (way,) in fields(recorded.file, "frame.packet_flags_direction")}
    assert directions == {1, 2}
    information(recorded.file)


async def test_expression_narrows_packets_as_tcpdump_does(made, tmp_path):
    expression = "udp and ip and src host " + CLIENT_V4
    dump = Dump(tmp_path / "eth0.pcap", from_client(made, TARGET_V4), expression=expression)
    async with recording(made, tmp_path / "ours.pcapng", packets="whole", filter=expression) as recorded:
        with tcpdumps(made, dump):
            for address in (TARGET_V4, TARGET_V6):
                await asyncio.to_thread(talk, made, address)
        await recorded.until(lambda: MARK + b"end" in recorded.stream.received)

    ours, theirs = apart_from_marks(rows(recorded.file)), apart_from_marks(rows(dump.file))
    assert ours == theirs
    assert theirs.total() == 20


async def test_port_narrows_packets_to_those_of_its_connections(made, tmp_path):
    dump = Dump(tmp_path / "eth0.pcap", from_client(made, TARGET_V4), expression="tcp port 8080")
    async with recording(made, tmp_path / "ours.pcapng", 8080, packets="whole") as recorded:
        with tcpdumps(made, dump):
            for address in (TARGET_V4, TARGET_V6):
                await asyncio.to_thread(talk, made, address, port=8080)
                await asyncio.to_thread(talk, made, address, port=8081)
        theirs = apart_from_marks(rows(dump.file))
        await recorded.until(lambda: recorded.packets >= theirs.total())

    assert recorded.link.counts["packets_unsent"] == recorded.link.counts["kernel_drops"] == 0
    assert theirs.total() > 100
    assert apart_from_marks(rows(recorded.file)) == theirs


async def test_no_payload_crosses_the_tunnel_where_headers_are_asked_for(made, tmp_path):
    async with recording(made, tmp_path / "ours.pcapng", packets="headers", responder="lengths") as recorded:
        for address in (TARGET_V4, TARGET_V6):
            await asyncio.to_thread(talk, made, address)
        await recorded.until(lambda: recorded.packets > 100)

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
