"""The drain in C, against frames as the agent's own code encodes them."""

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import native
from benchmarks.stamps import parse_records
from podmirror_wire.decoder import Decoder
from podmirror_wire.frames import (
    AnyFrame,
    Closed,
    Credit,
    Data,
    Gap,
    Goodbye,
    Ledger,
    Omitted,
    Opened,
    Ping,
    Pong,
)
from podmirror_wire.values import CloseReason, Direction, Endpoint, GapReason

TIMEOUT_SECONDS = 10.0

pytestmark = pytest.mark.skipif(bool(native.why_not()), reason="it needs a C compiler, and Linux")

INITIATOR, RESPONDER = Endpoint("10.0.0.1", 40000), Endpoint("10.0.0.2", 80)
QUARTER = 64 * 1024


class Agent:
    """The agent's end of the conversation."""

    def __init__(self, connection: socket.socket, process: "subprocess.Popen[str]") -> None:
        self.connection = connection
        self.process = process
        self.decoder = Decoder()

    def send(self, *frames: AnyFrame) -> None:
        self.connection.sendall(b"".join(frame.encode() for frame in frames))

    def receive(self) -> AnyFrame:
        frames: list[AnyFrame] = []
        while not frames:
            data = self.connection.recv(1)
            assert data, "the drain hung up"
            frames = self.decoder.receive_data(data)
        return frames[0]

    def end(self, *frames: AnyFrame) -> dict[str, object]:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.stdin = None
        assert isinstance(self.receive(), Goodbye)
        self.send(*frames, Goodbye("as asked"))
        told, _ = self.process.communicate(timeout=TIMEOUT_SECONDS)
        assert self.process.returncode == 0
        result: dict[str, object] = json.loads(told)
        return result


@contextmanager
def drain(**options: object) -> Iterator[Agent]:
    ours, its = socket.socketpair()
    ours.settimeout(TIMEOUT_SECONDS)
    command = native.program("drain", agent=its.fileno(), **options)
    with (
        ours,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=[its.fileno()]
        ) as process,
    ):
        its.close()
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield Agent(ours, process)
        finally:
            process.kill()


def data(connection: int, offset: int, payload: bytes) -> Data:
    return Data(connection, Direction.TO_RESPONDER, offset, payload)


def test_everything_is_counted() -> None:
    with drain() as agent:
        agent.send(
            Opened(1, False, INITIATOR, RESPONDER, 0, "eth0"),
            Opened(2, True, INITIATOR, RESPONDER, 0, "eth0"),
            data(1, 0, b"whole"),
            data(2, 0, b"late"),
            Gap(1, Direction.TO_RESPONDER, 5, 10, GapReason.MISSED),
            Omitted(1, Direction.TO_INITIATOR, 0, 30),
            Omitted(2, Direction.TO_RESPONDER, 4, 6),
            Closed(1, CloseReason.CUT, 7),
        )
        told = agent.end(Ledger({"packets": 3}), Ledger({"packets": 4, "kernel_drops": 1 << 40}))

    assert told == {
        "frames": 11,
        "opened": 2,
        "late": 1,
        "late_bytes": 4,
        "closed": 1,
        "closed_for_4": 1,
        "unsent": 7,
        "delivered": 9,
        "omitted": 6,
        "gaps": 1,
        "gap_bytes": 10,
        "ledger": {"packets": 4, "kernel_drops": 1 << 40},
    }


def test_credit_comes_per_connection_once_a_quarter_of_the_window_is_used() -> None:
    with drain() as agent:
        agent.send(data(1, 0, bytes(QUARTER - 1)), data(2, 0, bytes(QUARTER + 5)), data(1, QUARTER - 1, b"1"))

        assert [agent.receive(), agent.receive()] == [Credit(2, QUARTER + 5), Credit(1, QUARTER)]

        agent.end()


def test_a_ping_is_answered_with_what_was_received() -> None:
    with drain(received=100) as agent:
        agent.send(data(1, 0, b"abc"), Ping(1234, 0))
        pong = agent.receive()

        assert isinstance(pong, Pong)
        assert pong.ping_time == 1234
        assert pong.received == 100 + len(data(1, 0, b"abc").encode())

        agent.end()


def test_requests_are_stamped_when_their_last_byte_arrives_in_whatever_pieces(tmp_path: Path) -> None:
    size = 100
    first = (b"GET /" + b"%016x%08x%08x" % (77, 3, 0)).ljust(size, b"f")
    second = (b"GET /" + b"%016x%08x%08x" % (88, 3, 1)).ljust(size, b"f")
    both = first + second
    with drain(message=size, record=tmp_path / "record") as agent:
        agent.send(data(1, 0, both[:9]), data(1, 9, both[9:130]), data(1, 130, both[130:]))
        agent.end()

    arrivals = parse_records((tmp_path / "record").read_bytes())
    assert {which: arrival.sent for which, arrival in arrivals.items()} == {(3, 0): 77, (3, 1): 88}
    assert arrivals[3, 0].received <= arrivals[3, 1].received
