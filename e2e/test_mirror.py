"""`mirror` and `exec` deliver live requests, byte for byte."""

import json
import subprocess
import sys
from pathlib import Path

from e2e.bodies import drive, expected, received
from e2e.cluster import LOCAL, E2ECluster, code, until
from e2e.sessions import Podmirror

REQUESTS = 150


def test_exec_delivers_every_request_to_the_command(k8s: E2ECluster, local_port: int, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.json"
    arguments = [
        "exec",
        *k8s.session_arguments("deployment/app"),
        "-p",
        f"8080:{local_port}",
        "--ledger",
        str(ledger),
    ]
    with Podmirror(k8s, *arguments, "--", sys.executable, "-c", code(LOCAL), str(local_port)) as podmirror:
        podmirror.until_said("subscribed: port 8080")

        drive(k8s, "client-exec", 1, REQUESTS)

        until(lambda: len(received(podmirror.out)) == REQUESTS, "all requests have arrived")
        assert received(podmirror.out) == expected(1, REQUESTS)
        code_of_interrupted_python = 130
        assert podmirror.interrupt() == code_of_interrupted_python
        assert "Nothing was lost." in podmirror.err
    counted = json.loads(ledger.read_text())
    assert counted["lost_connections"] == 0
    assert counted["complete_connections"] == counted["connections"] == REQUESTS // 3


def test_exec_finds_the_port_that_the_command_listens_on(k8s: E2ECluster, local_port: int) -> None:
    arguments = ["exec", *k8s.session_arguments("deployment/app"), "-p", "8080"]
    with Podmirror(k8s, *arguments, "--", sys.executable, "-c", code(LOCAL), str(local_port)) as podmirror:
        podmirror.until_said(f"subscribed: port 8080 of the pod goes to local port {local_port}")

        drive(k8s, "client-found", 2, 9)

        until(lambda: len(received(podmirror.out)) == 9, "all requests have arrived")
        podmirror.interrupt()


def test_mirror_delivers_to_a_process_that_already_runs(k8s: E2ECluster, local_port: int) -> None:
    with (
        subprocess.Popen(
            [sys.executable, "-c", code(LOCAL), str(local_port)], stdout=subprocess.PIPE, text=True
        ) as local,
        Podmirror(
            k8s, "mirror", *k8s.session_arguments("deployment/app/container/app"), "-p", f"8080:{local_port}"
        ) as podmirror,
    ):
        podmirror.until_said("mirroring")

        drive(k8s, "client-mirror", 3, 30)

        assert local.stdout is not None
        lines = [local.stdout.readline() for _ in range(30)]
        assert received("".join(lines)) == expected(3, 30)
        assert podmirror.interrupt() == 0
        local.terminate()
