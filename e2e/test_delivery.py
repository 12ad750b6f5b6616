"""What becomes of connections that are open before the session, that lose bytes, or that are too many for the agent."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster import LOCAL, E2ECluster, code, until
from e2e.sessions import Podmirror
from e2e.test_lifecycle import agent_name, agent_pid
from e2e.test_mirror import drive

KEEP_ALIVE = """
    import http.client, signal, sys, threading, time

    def body():
        for _ in range(6):
            time.sleep(0.008)
            yield b"x" * 100

    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    connection = http.client.HTTPConnection(sys.argv[1], 8080, timeout=10)
    number = 0
    while not over.is_set():
        connection.request("POST", f"/{number}", body(), {"Content-Length": "600"})
        assert len(connection.getresponse().read()) == 64
        print(number, flush=True)
        number += 1
    connection.close()
"""
"""Posts on one connection until it is told to end, and prints the number of each request.

Packets come with more time between them than the agent's ring waits (4 ms at HZ=250), so that each takes up one of its blocks.
"""

BURST = """
    import hashlib, http.client, json, socket, sys, time

    body = bytes(10_000)
    head = f"POST / HTTP/1.1\\r\\nHost: app\\r\\nContent-Length: {len(body)}\\r\\nConnection: close\\r\\n\\r\\n"
    expected = hashlib.sha256(body).hexdigest()
    sent = failed = 0
    over = time.monotonic() + float(sys.argv[2])
    while time.monotonic() < over:
        sent += 1
        try:
            with socket.create_connection((sys.argv[1], 8080), timeout=10) as connection:
                connection.sendall(head.encode() + body)  # at once, or Nagle's algorithm makes it wait
                answer = http.client.HTTPResponse(connection)
                answer.begin()
                failed += answer.read().decode() != expected
        except OSError:
            failed += 1
    print(json.dumps({"sent": sent, "failed": failed}), flush=True)
"""
"""Posts for so many seconds as fast as it can, on a connection each."""

LINES_APP = """
    import socketserver

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            for line in self.rfile:
                self.wfile.write(line)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True

    server = Server(("", 8080), Handler)
    print("the app listens", flush=True)
    server.serve_forever()
"""
"""Sends every line back."""

LINES_CLIENT = """
    import signal, socket, sys, threading

    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    number = 0
    with socket.create_connection((sys.argv[1], 8080), timeout=10) as connection, connection.makefile("rwb") as lines:
        while not over.is_set():
            lines.write(b"%d\\n" % number)
            lines.flush()
            assert int(lines.readline()) == number
            print(number, flush=True)
            number += 1
            over.wait(0.1)
"""
"""Sends numbers on one connection, in no protocol that anybody knows, until it is told to end."""

LINES_LOCAL = """
    import socketserver, sys

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            for line in self.rfile:
                sys.stdout.write(line.decode())
                sys.stdout.flush()

    socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
"""The local process: prints every line."""


RING_BLOCKS = 256
"""Of the agent's packet ring."""


def numbers(output: str) -> list[int]:
    """Give the numbers with which the whole lines begin."""
    return [
        int(line.strip("/\n").split()[0]) for line in output.splitlines(keepends=True) if line.endswith("\n")
    ]


@contextmanager
def running(local: str, port: int) -> Iterator[None]:
    """Have a local process, of which nobody reads anything."""
    with subprocess.Popen(
        [sys.executable, "-c", code(local), str(port)], stdout=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.kill()


@contextmanager
def session(
    k8s: E2ECluster, app: str, local: str, port: int, tmp_path: Path, *options: str
) -> Iterator[tuple[Podmirror, Path]]:
    """Give an `exec` that delivers the app's traffic to the local program, and where its ledger will be."""
    ledger = tmp_path / "ledger.json"
    arguments = ["exec", *k8s.session_arguments(f"deployment/{app}"), "-p", f"8080:{port}"]
    command = ["--", sys.executable, "-c", code(local), str(port)]
    with Podmirror(k8s, *arguments, "--ledger", str(ledger), *options, *command) as podmirror:
        podmirror.until_said("subscribed: port 8080")
        yield podmirror, ledger


@contextmanager
def talking(k8s: E2ECluster, app: str, name: str, program: str) -> Iterator[Callable[[], None]]:
    """Have a client with one connection open, and give what ends it in good order."""
    k8s.run_pod(name, program, k8s.ready_pods(app)[0].status.pod_ip, grace=20)
    until(lambda: k8s.phase(name) == "Running" and numbers(k8s.log(name)), f"{name} talks")

    def end() -> None:
        k8s.core.delete_namespaced_pod(name, k8s.namespace)

    yield end


def is_told(podmirror: Podmirror, ledger: Path) -> dict[str, Any]:
    """End a session, and give its ledger."""
    podmirror.interrupt()
    return dict(json.loads(ledger.read_text()))


def in_a_row(arrived: list[int]) -> bool:
    """Whether numbers begin behind the first and go on without a hole."""
    return arrived[0] > 0 and arrived == list(range(arrived[0], arrived[0] + len(arrived)))


@pytest.fixture(scope="module")
def lines_app(k8s: E2ECluster) -> str:
    k8s.deploy("lines", LINES_APP)
    return "lines"


def test_a_late_join_is_delivered_from_its_next_request_on(
    k8s: E2ECluster, local_port: int, tmp_path: Path
) -> None:
    with (
        talking(k8s, "app", "client-late-http", KEEP_ALIVE) as end,
        session(k8s, "app", LOCAL, local_port, tmp_path, "-v") as (podmirror, ledger),
    ):
        until(lambda: len(numbers(podmirror.out)) >= 5, "requests have arrived")
        end()
        podmirror.until_said(" joined, ")
        counted = is_told(podmirror, ledger)
        assert in_a_row(numbers(podmirror.out))
    assert counted["outcomes"]["joined"] == counted["connections"] == 1
    assert counted["lost_connections"] == 0


def test_a_late_join_is_skipped_if_that_is_asked_for(
    k8s: E2ECluster, local_port: int, tmp_path: Path
) -> None:
    options = ("-v", "--late-joins", "skip")
    with (
        talking(k8s, "app", "client-late-skip", KEEP_ALIVE) as end,
        session(k8s, "app", LOCAL, local_port, tmp_path, *options) as (podmirror, ledger),
    ):
        drive(k8s, "client-late-other", 11, 3)
        until(lambda: len(numbers(podmirror.out)) == 3, "the connection that came later is delivered")
        end()
        podmirror.until_said(" skipped, 0 bytes: it was open before the session began")
        counted = is_told(podmirror, ledger)
        assert sorted(numbers(podmirror.out)) == [0, 1, 2]
    assert counted["outcomes"]["skipped"] == counted["outcomes"]["whole"] == 1
    assert counted["lost_connections"] == 0


def test_a_late_join_in_a_protocol_that_nobody_knows_is_listed(
    k8s: E2ECluster, lines_app: str, local_port: int, tmp_path: Path
) -> None:
    with (
        talking(k8s, lines_app, "client-late-lines", LINES_CLIENT) as end,
        session(k8s, lines_app, LINES_LOCAL, local_port, tmp_path) as (podmirror, ledger),
    ):
        seen = len(numbers(k8s.log("client-late-lines")))
        until(lambda: len(numbers(k8s.log("client-late-lines"))) > seen + 2, "more was said")
        end()
        podmirror.until_said("no HTTP/1 request was recognised in it")
        counted = is_told(podmirror, ledger)
        assert podmirror.out == ""
    assert counted["outcomes"]["unjoined"] == counted["connections"] == 1
    assert counted["delivered_bytes"] == 0


def test_a_late_join_is_delivered_raw_if_that_is_asked_for(
    k8s: E2ECluster, lines_app: str, local_port: int, tmp_path: Path
) -> None:
    options = ("-v", "--late-joins", "raw")
    with (
        talking(k8s, lines_app, "client-late-raw", LINES_CLIENT) as end,
        session(k8s, lines_app, LINES_LOCAL, local_port, tmp_path, *options) as (podmirror, ledger),
    ):
        until(lambda: len(numbers(podmirror.out)) >= 5, "lines have arrived")
        end()
        podmirror.until_said(" joined, ")
        counted = is_told(podmirror, ledger)
        assert in_a_row(numbers(podmirror.out))
        assert counted["delivered_bytes"] == len(podmirror.out)
    assert counted["outcomes"]["joined"] == counted["connections"] == 1


def stall(k8s: E2ECluster, podmirror: Podmirror, client: str) -> int:
    """Stop the agent for so long that its ring overflows, and give the number of the client's last request by then."""
    pid = agent_pid(k8s, agent_name(podmirror))
    last = numbers(k8s.log(client))[-1]
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: numbers(k8s.log(client))[-1] > last + RING_BLOCKS // 4, "the ring is full")
    finally:
        os.kill(pid, signal.SIGCONT)
    return numbers(k8s.log(client))[-1]


def test_behind_a_gap_nothing_more_is_delivered(k8s: E2ECluster, local_port: int, tmp_path: Path) -> None:
    with (
        session(k8s, "app", LOCAL, local_port, tmp_path) as (podmirror, ledger),
        talking(k8s, "app", "client-gap-reset", KEEP_ALIVE) as end,
    ):
        until(lambda: len(numbers(podmirror.out)) >= 5, "requests have arrived")
        stalled = stall(k8s, podmirror, "client-gap-reset")
        until(lambda: numbers(k8s.log("client-gap-reset"))[-1] > stalled + 10, "the client goes on")
        end()
        podmirror.until_said("bytes were missed by the capture")
        counted = is_told(podmirror, ledger)
        arrived = numbers(podmirror.out)
        assert arrived == list(range(len(arrived)))
        assert arrived[-1] < stalled
    assert counted["outcomes"]["gap"] == counted["lost_connections"] == 1
    assert counted["missing_bytes"] > 0
    assert counted["agent"]["kernel_drops"] > 0


def test_behind_a_gap_the_next_request_is_delivered_if_that_is_asked_for(
    k8s: E2ECluster, local_port: int, tmp_path: Path
) -> None:
    with (
        session(k8s, "app", LOCAL, local_port, tmp_path, "--on-gap", "rejoin") as (podmirror, ledger),
        talking(k8s, "app", "client-gap-rejoin", KEEP_ALIVE) as end,
    ):
        until(lambda: len(numbers(podmirror.out)) >= 5, "requests have arrived")
        stalled = stall(k8s, podmirror, "client-gap-rejoin")
        until(lambda: numbers(podmirror.out)[-1] > stalled + 10, "requests arrive again")
        end()
        podmirror.until_said("bytes were missed by the capture")
        counted = is_told(podmirror, ledger)
        arrived = numbers(podmirror.out)
        assert arrived == sorted(set(arrived))
        assert len(arrived) < arrived[-1] + 1
    assert counted["outcomes"]["gap"] == counted["lost_connections"] == 1
    assert counted["missing_bytes"] > 0


def test_an_agent_with_little_cpu_sheds_connections_and_costs_the_app_nothing(
    k8s: E2ECluster, local_port: int, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.json"
    arguments = ["mirror", *k8s.session_arguments("deployment/app"), "-p", f"8080:{local_port}"]
    options = ["--agent-cpu", "0.02", "--max-loss", "0", "--ledger", str(ledger)]
    with running(LOCAL, local_port), Podmirror(k8s, *arguments, *options) as podmirror:
        podmirror.until_said("mirroring")

        k8s.run_pod("client-burst", BURST, k8s.ready_pods("app")[0].status.pod_ip, "5")
        until(lambda: k8s.phase("client-burst") == "Succeeded", "the burst is over")
        answered = json.loads(k8s.log("client-burst"))
        assert answered["sent"] > 0
        assert answered["failed"] == 0

        code_of_too_much_loss = 3
        assert podmirror.interrupt() == code_of_too_much_loss
    assert json.loads(ledger.read_text())["agent"]["shed_connections"] > 0
