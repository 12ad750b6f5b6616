"""The program as a process, in the pod's namespace where it needs one."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from podmirror_agent.program import EXIT_ENDED, EXIT_FAULT, EXIT_NOT_STARTED, main
from podmirror_wire.frames import Closed, Data, Goodbye, Opened
from podmirror_wire.handshake import verifier_of
from podmirror_wire.values import CloseReason, Direction
from podmirror_wire.version import __version__
from tests.agent.conversation import TestLayer
from tests.namespaces import TARGET_ADDRESSES, Namespaces
from tests.stopwatch import Stopwatch

SECRET = bytes(range(32))
VERIFIER = verifier_of(SECRET).hex()
PORTS = (47_001, 47_002)
DEADLINE_SECONDS = 15.0

CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapAmb")


@dataclass
class Program:
    """An agent that runs."""

    process: subprocess.Popen[str]
    port: int
    termination_log: Path

    def end(self) -> int:
        return self.process.wait(DEADLINE_SECONDS)

    def last_words(self) -> dict[str, object]:
        (line,) = self.termination_log.read_text().splitlines()
        return json.loads(line)


def command(*arguments: str, ports: tuple[int, ...] = PORTS) -> list[str]:
    candidates = ",".join(map(str, ports))
    return [
        sys.executable,
        "-m",
        "podmirror_agent",
        "--ports",
        candidates,
        "--verifier",
        VERIFIER,
        *arguments,
    ]


def line_with(process: subprocess.Popen[str], text: str) -> str:
    """Give the first line of its log that has this text; a program that is silent for too long is killed."""
    impatience = threading.Timer(DEADLINE_SECONDS, process.kill)
    impatience.start()
    try:
        for line in process.stderr:
            if text in line:
                return line
    finally:
        impatience.cancel()
    pytest.fail(f"the program ended without {text!r}")


@contextlib.contextmanager
def running(wire: Namespaces, folder: Path, *arguments: str) -> Iterator[Program]:
    termination_log = folder / "termination-log"
    termination_log.touch()
    environment = {**os.environ, "PODMIRROR_TERMINATION_LOG": str(termination_log), "PYTHONUNBUFFERED": "1"}
    with wire.target.entered():
        process = subprocess.Popen(
            command(*arguments), stderr=subprocess.PIPE, text=True, bufsize=1, env=environment
        )
    with process:
        try:
            port = int(line_with(process, "listens on").rsplit(":", 1)[1])
            yield Program(process, port, termination_log)
        finally:
            if process.poll() is None:
                process.kill()


async def layer_of(wire: Namespaces, program: Program) -> TestLayer:
    with wire.target.entered():
        near = socket.create_connection(("127.0.0.1", program.port), DEADLINE_SECONDS)
    near.setblocking(False)
    layer = TestLayer(*await asyncio.open_connection(sock=near))
    await layer.authenticate(SECRET)
    return layer


def last_words(folder: Path, arguments: list[str]) -> tuple[int, dict[str, object], str]:
    """Run a program that does not start, and give its exit code, its termination message and its log."""
    termination_log = folder / "termination-log"
    termination_log.touch(mode=0o666)
    done = subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
        env={**os.environ, "PODMIRROR_TERMINATION_LOG": str(termination_log)},
    )
    return done.returncode, json.loads(termination_log.read_text()), done.stderr


# A whole session.


@pytest.mark.namespaces
async def test_traffic_of_the_pod_reaches_the_layer(wire, tmp_path):
    with running(wire, tmp_path, "-t", "60") as program, contextlib.ExitStack() as stack:
        async with await layer_of(wire, program) as layer:
            await layer.subscribe(8080)
            with wire.target.entered():
                listener = stack.enter_context(socket.create_server((TARGET_ADDRESSES[0], 8080)))
            with wire.client.entered():
                near = stack.enter_context(
                    socket.create_connection((TARGET_ADDRESSES[0], 8080), DEADLINE_SECONDS)
                )
            far = stack.enter_context(listener.accept()[0])
            near.sendall(b"GET / HTTP/1.1\r\n\r\n")

            opened = await layer.receive(Opened)
            data = await layer.receive(Data)
            layer.send(Goodbye("done"))
            frames = await layer.receive_all()
            far.close()

        assert (opened.responder, opened.interface, opened.late) == (
            (TARGET_ADDRESSES[0], 8080),
            "eth0",
            False,
        )
        assert data == Data(opened.connection, Direction.TO_RESPONDER, 0, b"GET / HTTP/1.1\r\n\r\n")
        assert isinstance(frames[-1], Goodbye)
        assert program.end() == EXIT_ENDED
        assert program.last_words() == {
            "reason": "the layer said goodbye: done",
            "exit": 0,
            "version": __version__,
        }


@pytest.mark.namespaces
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_signal_ends_it_within_a_second(wire, tmp_path, number):
    with running(wire, tmp_path) as program:
        with Stopwatch() as ending:
            program.process.send_signal(number)

            assert program.end() == EXIT_ENDED
        assert ending.seconds < 1.0
        assert program.last_words() == {
            "reason": f"{number.name} was received",
            "exit": 0,
            "version": __version__,
        }


@pytest.mark.namespaces
async def test_sigterm_tells_its_layer(wire, tmp_path):
    with running(wire, tmp_path) as program, contextlib.ExitStack() as stack:
        async with await layer_of(wire, program) as layer:
            await layer.subscribe(8080)
            with wire.target.entered():
                stack.enter_context(socket.create_server((TARGET_ADDRESSES[0], 8080)))
            with wire.client.entered():
                stack.enter_context(socket.create_connection((TARGET_ADDRESSES[0], 8080), DEADLINE_SECONDS))
            opened = await layer.receive(Opened)
            with Stopwatch() as ending:
                program.process.send_signal(signal.SIGTERM)

                frames = await layer.receive_all()
                assert program.end() == EXIT_ENDED
        assert ending.seconds < 1.0
        assert Closed(opened.connection, CloseReason.AGENT_ENDED, 0) in frames
        assert isinstance(frames[-1], Goodbye)


@pytest.mark.namespaces
def test_no_layer_ends_it(wire, tmp_path):
    with running(wire, tmp_path, "-t", "0.1") as program:
        assert program.end() == EXIT_ENDED
        assert program.last_words()["reason"] == "no layer connected for 0.1 s"


@pytest.mark.namespaces
def test_maximum_age_ends_it(wire, tmp_path):
    with running(wire, tmp_path, "--max-age", "0.1") as program:
        assert program.end() == EXIT_ENDED
        assert program.last_words()["reason"] == "the maximum age of 0.1 s was reached"


def statuses(process_id: int) -> list[dict[str, str]]:
    """Give what the kernel says of each thread."""
    return [
        dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines())
        for task in Path(f"/proc/{process_id}/task").iterdir()
    ]


@pytest.mark.namespaces
async def test_no_thread_keeps_a_capability(wire, tmp_path):
    with running(wire, tmp_path) as program:
        async with await layer_of(wire, program) as layer:
            await layer.subscribe(8080)  # the filter is set without one
            threads = statuses(program.process.pid)

        assert threads
        for status in threads:
            assert [int(status[name], 16) for name in CAPABILITY_SETS] == [0, 0, 0, 0]
            assert status["NoNewPrivs"] == "1"


@pytest.mark.namespaces
def test_it_listens_on_loopback_only(wire, tmp_path):
    with running(wire, tmp_path) as program, wire.client.entered(), pytest.raises(ConnectionRefusedError):
        socket.create_connection((TARGET_ADDRESSES[0], program.port), DEADLINE_SECONDS)


@pytest.mark.namespaces
def test_second_candidate_port_is_taken_where_the_first_is_not_free(wire, tmp_path):
    with wire.target.entered():
        taken = socket.create_server(("127.0.0.1", PORTS[0]))
    with taken, running(wire, tmp_path) as program:
        assert program.port == PORTS[1]


@pytest.mark.namespaces
def test_verifier_is_no_secret_and_the_log_tells_neither(wire, tmp_path):
    with running(wire, tmp_path, "--log-level", "debug") as program:
        program.process.send_signal(signal.SIGTERM)
        log = program.process.stderr.read()

        assert VERIFIER not in log
        assert SECRET.hex() not in log


# Not started.


def test_all_candidate_ports_are_taken(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        ports = (first.getsockname()[1], second.getsockname()[1])

        code, words, log = last_words(tmp_path, command(ports=ports))

    reason = f"none of the ports {ports[0]}, {ports[1]} is free on 127.0.0.1"
    assert code == EXIT_NOT_STARTED == 5
    assert words == {"reason": reason, "exit": 5, "version": __version__}
    assert reason in log


@pytest.mark.namespaces
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="util-linux's setpriv is not installed")
def test_packet_socket_without_net_raw(namespaces_at_hand, tmp_path):
    without = ["setpriv", "--bounding-set", "-net_raw", "--inh-caps", "-net_raw"]

    code, words, log = last_words(tmp_path, [*without, *command()])

    assert code == EXIT_NOT_STARTED
    assert words["exit"] == 5
    assert "CAP_NET_RAW" in str(words["reason"])
    assert "Traceback" not in log


def test_termination_log_that_is_not_there_is_no_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = subprocess.run(
            command(ports=(taken.getsockname()[1],)),
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_SECONDS,
            env={**os.environ, "PODMIRROR_TERMINATION_LOG": "/does/not/exist"},
        )

    assert done.returncode == EXIT_NOT_STARTED
    assert "Traceback" not in done.stderr


# Usage.


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--ports", "47001"],
        ["--verifier", VERIFIER],
        ["--ports", "0", "--verifier", VERIFIER],
        ["--ports", "65536", "--verifier", VERIFIER],
        ["--ports", "http", "--verifier", VERIFIER],
        ["--ports", "", "--verifier", VERIFIER],
        ["--ports", "47001", "--verifier", VERIFIER[:-2]],
        ["--ports", "47001", "--verifier", "no hex"],
        ["--ports", "47001", "--verifier", VERIFIER, "--ttl", "soon"],
        ["--ports", "47001", "--verifier", VERIFIER, "--log-level", "loud"],
        ["--ports", "47001", "--verifier", VERIFIER, "--container", "containerd://web"],
        ["--ports", "47001", "--verifier", VERIFIER, "surplus"],
    ],
    ids=" ".join,
)
def test_usage_errors_are_told(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == 2
    assert "usage: podmirror-agent" in capsys.readouterr().err


def test_version_is_told(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])

    assert caught.value.code == 0
    assert capsys.readouterr().out == f"{__version__}\n"


def test_exit_codes_are_pinned():
    assert (EXIT_ENDED, EXIT_FAULT, EXIT_NOT_STARTED) == (0, 1, 5)
