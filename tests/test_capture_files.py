"""`inspect -r`, `mirror -r` and `exec -r` as a user runs them, with tshark as the second opinion; damage costs only itself."""

import hashlib
import json
import os
import random
import resource
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent import packets
from tests.agent.capturefiles import Stamped, pcap, write
from tests.agent.packets import End, Talk
from tests.stopwatch import Stopwatch
from tests.wireshark import connections_of

FOLDER = os.environ.get("PODMIRROR_PCAPS")
SUFFIXES = (".pcap", ".pcapng", ".pcap.gz", ".pcapng.gz")
FILES = sorted(each for each in Path(FOLDER).iterdir() if each.name.endswith(SUFFIXES)) if FOLDER else []
NOW = 1_700_000_000_000_000_000
MAX_BYTES = 200 << 20


def podmirror(*arguments: str, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    def bound() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    return subprocess.run(
        [sys.executable, "-m", "podmirror", *arguments],
        capture_output=True, text=True, check=False, timeout=50, preexec_fn=bound,
    )  # fmt: skip


def connections(path: str, *arguments: str) -> list[dict[str, object]]:
    done = podmirror("inspect", "-r", path, "-o", "connections", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.skipif(not FILES, reason="PODMIRROR_PCAPS names no folder with captures")
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_wireshark_sees_the_same_connections(path: Path) -> None:
    ours = sorted(connections(str(path)), key=lambda each: each["connection"])
    theirs = connections_of(str(path))

    assert len(ours) == sum(len(each) for each in theirs.values())
    seen: dict[frozenset[str], int] = defaultdict(int)
    for each in ours:
        ends = frozenset((each["initiator"], each["responder"]))
        said = theirs[ends][seen[ends]]
        seen[ends] += 1
        missing = any(b"bytes missing in capture file]" in stream for stream in said.values())
        if missing:
            assert each["state"] in ("gap", "joined_late")
        if each["gaps"]:
            assert each["state"] == "gap"
            continue
        for end in ("initiator", "responder"):
            stream = said[each[end]]
            assert each[f"{end}_bytes"] == len(stream)
            assert each[f"{end}_sha256"] == hashlib.sha256(stream).hexdigest()


def exchange(
    port: int, at: int, requests: int, *, answer: bytes = b"HTTP/1.1 204 No Content\r\n\r\n"
) -> list[Stamped]:
    """Give a connection with numbered requests, 100 ms apart."""
    talk = Talk(End("10.0.0.1", port, 1000), End("10.0.0.2", 80, 5000))
    segments = [(at, each) for each in talk.handshake()]
    for number in range(requests):
        when = at + number * 100_000_000
        segments.append((when, talk.says(f"GET /{port}/{number} HTTP/1.1\r\nHost: x\r\n\r\n".encode())))
        segments += [(when, talk.answers(answer)), (when, talk.ack())]
    segments += [(when, talk.fin()), (when, talk.server_fin()), (when, talk.ack())]
    return [Stamped(time, packets.encoded(each)) for time, each in segments]


def recorded(folder: Path, *, ports: int = 10, requests: int = 5) -> str:
    """Write a file with connections that overlap in time."""
    made = [each for n in range(ports) for each in exchange(40000 + n, NOW + n * 20_000_000, requests)]
    return write(folder / "recorded.pcap", pcap(sorted(made, key=lambda each: each.time)))


def test_a_sample_is_the_same_in_every_run_and_is_told(tmp_path: Path) -> None:
    path = recorded(tmp_path, ports=60, requests=1)
    done = [podmirror("inspect", "-r", path, "-o", "connections", "--sample", "50%") for _ in range(2)]
    seen = len(done[0].stdout.splitlines())

    assert done[0].stdout == done[1].stdout
    assert 10 < seen < 50
    assert f"left out: {60 - seen} connections are not in the sample" in done[0].stderr


def test_one_port_of_a_file(tmp_path: Path) -> None:
    path = recorded(tmp_path, ports=2)

    assert len(connections(path, "-p", "80")) == 2
    assert connections(path, "-p", "81") == []


def test_standard_input(tmp_path: Path) -> None:
    path = recorded(tmp_path, ports=2)
    with Path(path).open("rb") as file:
        done = subprocess.run(
            [sys.executable, "-m", "podmirror", "inspect", "-r", "-", "-o", "connections"],
            stdin=file, capture_output=True, text=True, check=True, timeout=50,
        )  # fmt: skip

    assert len(done.stdout.splitlines()) == 2


@pytest.mark.parametrize("content", [b"", b"no capture at all"])
def test_what_is_no_capture_is_refused_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "file", content)
    done = podmirror("inspect", "-r", path)

    assert done.returncode == 5
    assert done.stderr.startswith(f"podmirror: {path} cannot be read as pcap or pcapng: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_file_that_is_not_there_is_refused_in_one_sentence(tmp_path: Path) -> None:
    done = podmirror("mirror", "-r", str(tmp_path / "nothing"), "-p", "80:81")

    assert done.returncode == 5
    assert "cannot be read as pcap or pcapng: No such file or directory" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_file_costs_nothing_but_itself(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    whole = Path(chance.choice(FILES)).read_bytes() if FILES else Path(recorded(tmp_path)).read_bytes()
    damaged = bytearray(whole[: chance.randrange(24, len(whole))])
    for _ in range(chance.randrange(20)):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    done = podmirror("inspect", "-r", write(tmp_path / "file", bytes(damaged)), limit=MAX_BYTES)

    assert done.returncode in (0, 5), done.stderr
    assert "Traceback" not in done.stderr
    assert "fault" not in done.stderr


def test_the_file_that_is_read_is_not_written_over(tmp_path: Path) -> None:
    path = recorded(tmp_path)
    before = Path(path).read_bytes()
    done = podmirror("inspect", "-r", path, "-w", path)

    assert done.returncode == 2
    assert "name the same file" in done.stderr
    assert Path(path).read_bytes() == before


def test_the_file_that_is_read_from_stdin_is_not_written_over(tmp_path: Path) -> None:
    path = recorded(tmp_path)
    before = Path(path).read_bytes()
    command = [sys.executable, "-m", "podmirror", "inspect", "-r", "-", "-w", path]
    with Path(path).open("rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "name the same file" in done.stderr
    assert Path(path).read_bytes() == before


@pytest.mark.parametrize(("closed", "lines"), [("2>&-", 10), (">&-", 0), ("<&- >&- 2>&-", 0)])
def test_closed_standard_streams_are_no_fault(tmp_path: Path, closed: str, lines: int) -> None:
    command = f'"$0" -m podmirror inspect -r "$1" -o connections {closed}'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, recorded(tmp_path)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == lines
    assert "fault" not in done.stderr


def test_a_file_that_is_cut_short_says_so(tmp_path: Path) -> None:
    whole = Path(recorded(tmp_path)).read_bytes()
    path = write(tmp_path / "file", whole[:-5])
    done = podmirror("inspect", "-r", path)

    assert done.returncode == 0
    assert f"podmirror: {path}: damaged: " in done.stderr


# Replaying to a local process.


class Recorder(socketserver.ThreadingTCPServer):
    """Answers requests, and keeps when each came, and in which connection."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        self.requests: dict[tuple[str, int], list[tuple[float, str]]] = defaultdict(list)
        super().__init__(("127.0.0.1", 0), _Answer)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Answer(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Recorder)
        while line := self.rfile.readline():
            if line.startswith(b"GET "):
                self.server.requests[self.client_address].append((time.monotonic(), line.split()[1].decode()))
            if line == b"\r\n":
                self.wfile.write(b"HTTP/1.1 204 No Content\r\n\r\n")


@pytest.fixture
def server() -> Iterator[Recorder]:
    with Recorder() as made:
        serving = threading.Thread(target=made.serve_forever)
        serving.start()
        yield made
        made.shutdown()
        serving.join()


def replay(path: str, server: Recorder, *arguments: str) -> str:
    done = podmirror("mirror", "-r", path, "-p", f"80:{server.port}", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stderr


def paths(server: Recorder) -> list[list[str]]:
    return sorted([path for _, path in each] for each in server.requests.values())


EXPECTED = [[f"/{40000 + port}/{number}" for number in range(5)] for port in range(10)]


def test_replay_as_fast_as_it_goes_keeps_each_connection_s_order(tmp_path: Path, server: Recorder) -> None:
    said = replay(recorded(tmp_path), server, "--speed", "max")

    assert paths(server) == EXPECTED
    assert "10 connections mirrored: 10 complete" in said
    assert "Nothing was lost." in said


def test_replay_again_and_again(tmp_path: Path, server: Recorder) -> None:
    replay(recorded(tmp_path), server, "--speed", "max", "--loop", "3")

    assert paths(server) == sorted(EXPECTED * 3)


def test_replay_keeps_the_timing_and_the_concurrency(tmp_path: Path, server: Recorder) -> None:
    began = time.monotonic()
    with Stopwatch() as replaying:
        replay(recorded(tmp_path), server, "--speed", "0.5x")
    came = {path: at for each in server.requests.values() for at, path in each}
    begin = came["/40000/0"]
    held_up = replaying.held_up

    assert paths(server) == EXPECTED
    for path, at in came.items():
        _, port, number = path.split("/")
        recorded_at = (int(port) - 40000) * 0.02 + int(number) * 0.1
        assert at - began >= recorded_at * 2, "nothing is early"
        assert at - begin <= recorded_at * 2 + 0.5 + held_up, (
            "nothing is late, but for what holds up the whole machine"
        )
    # In the order of the file, however late: the first request of each connection before the last of any.
    assert all(
        came[f"/{40000 + port}/0"] < came[f"/{40000 + other}/4"] + held_up
        for port in range(10)
        for other in range(10)
    )


def test_a_connection_that_is_open_at_the_end_of_the_file_is_delivered(
    tmp_path: Path, server: Recorder
) -> None:
    path = write(tmp_path / "file", pcap(exchange(40000, NOW, 5)[:-3]))
    replay(path, server, "--speed", "max")

    assert paths(server) == EXPECTED[:1]


SERVER = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        sys.stdout.write(f"asked for {self.path}\\n")
        sys.stdout.flush()
        self.send_response(204)
        self.end_headers()
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


def test_exec_gives_a_command_the_connections_of_a_file_when_it_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "podmirror", "exec", "-r", recorded(tmp_path), "-p", f"80:{port}"]
    command += ["--speed", "max", "--", sys.executable, "-c", SERVER, str(port)]
    said: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            said.append(line.strip())
            if " is over; " in line:
                running.send_signal(signal.SIGTERM)

    asked = sorted(line.split()[-1] for line in said if line.startswith("asked for "))
    assert asked == sorted(path for paths in EXPECTED for path in paths)
    assert running.returncode == 128 + signal.SIGTERM
    assert any("10 connections mirrored: 10 complete" in line for line in said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-r", "some.pcap"], "with -r, name at least one port: -p REMOTE:LOCAL"),
        (["-r", "-", "-p", "80:3000"], "the standard input is the command's"),
        (["-t", "pod/web", "--speed", "2x"], "--speed and --loop are for a capture file: -r FILE"),
    ],
)
def test_exec_refuses_what_it_cannot_read(arguments: list[str], said: str) -> None:
    done = podmirror("exec", *arguments, "--", "true")

    assert done.returncode == 2
    assert said in done.stderr
