"""What a session tells while it runs and at its end: figures, metrics, the ledger and its limits."""

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from e2e.cluster import LOCAL, E2ECluster, code, until
from e2e.sessions import Podmirror
from e2e.test_mirror import drive

REQUESTS = 30


RUDE = """
    import socket, sys

    with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
        while True:
            connection, _ = listener.accept()
            connection.recv(10)
            connection.close()
"""
"""A local process that leaves when it has read a few bytes."""

DEAF = """
    import socket, sys

    with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
        taken = []
        while True:
            taken.append(listener.accept())
"""
"""A local process that never reads."""

BULK = """
    import hashlib, http.client, sys

    body = bytes(32 << 20)
    connection = http.client.HTTPConnection(sys.argv[1], 8080, timeout=30)
    connection.request("POST", "/bulk", body)
    assert connection.getresponse().read().decode() == hashlib.sha256(body).hexdigest()
    connection.close()
"""
"""Posts more than all buffers on the way to a local process hold."""


@contextmanager
def local_process(port: int, program: str = LOCAL) -> Iterator[None]:
    """Have a local process, of which nobody reads anything."""
    with subprocess.Popen(
        [sys.executable, "-c", code(program), str(port)], stdout=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.kill()


def arguments(k8s: E2ECluster, port: int, ledger: Path, *options: str) -> list[str]:
    target = k8s.session_arguments("deployment/app")
    return ["mirror", *target, "-p", f"8080:{port}", "--ledger", str(ledger), *options]


def test_every_byte_that_the_agent_saw_is_in_the_ledger(
    k8s: E2ECluster, local_port: int, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.json"
    with (
        local_process(local_port),
        Podmirror(k8s, *arguments(k8s, local_port, ledger, "--max-loss", "0B")) as podmirror,
    ):
        podmirror.until_said("mirroring")
        drive(k8s, "client-ledger", 21, REQUESTS)
        assert podmirror.interrupt() == 0
    counted = json.loads(ledger.read_text())
    assert counted["complete_connections"] == counted["connections"] == REQUESTS // 3
    assert counted["lost_bytes"] == sum(counted["not_delivered_bytes"].values()) == 0
    assert counted["delivered_bytes"] == counted["agent"]["bytes_seen"] > 0


def test_figures_are_told_while_it_runs(k8s: E2ECluster, local_port: int, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.json"
    with (
        local_process(local_port),
        Podmirror(k8s, *arguments(k8s, local_port, ledger, "--stats")) as podmirror,
    ):
        podmirror.until_said("mirroring")
        drive(k8s, "client-stats", 22, REQUESTS)
        podmirror.until_said(f"delivered: {REQUESTS // 3} connections (0 open), ")
        lines = podmirror.err.count("podmirror: now: ")
        assert podmirror.interrupt() == 0
        assert podmirror.err.count("podmirror: now: ") > lines
        delivered = json.loads(ledger.read_text())["delivered_bytes"]
        *_, last = [said for said in podmirror.err.splitlines() if "podmirror: now: " in said]
        assert f"(0 open), {delivered / 1000:,.1f} kB; lost: 0 connections, 0 B; agent: " in last


def test_metrics_are_served_while_it_runs(k8s: E2ECluster, local_port: int, tmp_path: Path) -> None:
    options = ("--metrics", ":0")
    with (
        local_process(local_port),
        Podmirror(k8s, *arguments(k8s, local_port, tmp_path / "ledger.json", *options)) as podmirror,
    ):
        podmirror.until_said("mirroring")
        (url,) = re.findall(r"http://127\.0\.0\.1:\d+/metrics", podmirror.err)
        drive(k8s, "client-metrics", 23, REQUESTS)

        def metrics() -> dict[str, float]:
            with urllib.request.urlopen(url, timeout=5) as answer:
                lines = answer.read().decode().splitlines()
            return {
                line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line[:1] != "#"
            }

        whole = 'podmirror_connections_total{outcome="whole"}'
        until(lambda: metrics()[whole] == REQUESTS // 3, "all connections are counted")
        seen = "podmirror_agent_seen_bytes_total"
        until(
            lambda: metrics()[seen] == metrics()["podmirror_delivered_bytes_total"] > 0,
            "the agent tells its counts",
        )
        counted = metrics()
        assert counted["podmirror_agent_connected"] == 1
        assert counted["podmirror_agent_cpu_seconds_total"] > 0
        assert counted["podmirror_lost_connections_total"] == 0
        assert podmirror.interrupt() == 0
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=5)


def test_loss_over_the_limit_fails_the_session(k8s: E2ECluster, local_port: int, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.json"
    with (
        local_process(local_port, RUDE),
        Podmirror(k8s, *arguments(k8s, local_port, ledger, "--max-loss", "1kB")) as podmirror,
    ):
        podmirror.until_said("mirroring")
        drive(k8s, "client-loss", 24, REQUESTS)
        podmirror.until_said("closed the connection before it had read everything")
        code_of_too_much_loss = 3
        assert podmirror.interrupt() == code_of_too_much_loss
        assert "bytes were lost, over --max-loss" in podmirror.err.splitlines()[-1]
    counted = json.loads(ledger.read_text())
    assert counted["lost_bytes"] == counted["not_delivered_bytes"]["local_failure"] > 1000
    assert counted["delivered_bytes"] + counted["lost_bytes"] == counted["agent"]["bytes_seen"]


def test_a_local_process_that_never_reads_costs_its_connection_and_every_byte_has_a_name(
    k8s: E2ECluster, local_port: int, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.json"
    with (
        local_process(local_port, DEAF),
        Podmirror(k8s, *arguments(k8s, local_port, ledger, "-v")) as podmirror,
    ):
        podmirror.until_said("mirroring")
        k8s.run_pod("client-bulk", BULK, k8s.ready_pods("app")[0].status.pod_ip)
        until(lambda: k8s.phase("client-bulk") == "Succeeded", "the app has answered")
        assert podmirror.interrupt() == 0
    counted = json.loads(ledger.read_text())
    not_delivered = counted["not_delivered_bytes"]
    assert counted["outcomes"]["cut"] == counted["lost_connections"] == 1
    assert not_delivered["cut"] > 0
    assert (
        counted["delivered_bytes"] + sum(not_delivered.values()) == counted["agent"]["bytes_seen"] > 32 << 20
    )
