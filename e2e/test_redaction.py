"""What is secret does not leave the pod, whatever is written of its traffic; and what is not selected does not either."""

import json
import subprocess
from pathlib import Path

import pytest

from e2e.cluster import E2ECluster, until
from e2e.sessions import Podmirror

TOKEN = "e2e-bearer-0123456789abcdef"

CLIENT = """
    import http.client, sys

    host, token = sys.argv[1:]
    connection = http.client.HTTPConnection(host, 8080, timeout=10)
    for number in range(30):
        headers = {"Authorization": f"Bearer {token}", "Cookie": f"session={token}"}
        connection.request("POST", f"/{'health' if number % 3 else 'orders'}/{number}", b"body", headers)
        assert connection.getresponse().read()
    connection.close()
"""


def request(k8s: E2ECluster, name: str) -> None:
    k8s.run_pod(name, CLIENT, k8s.ready_pods("app")[0].status.pod_ip, TOKEN)
    until(lambda: k8s.phase(name) == "Succeeded", f"{name} is done")


@pytest.mark.parametrize("output", ["text", "jsonl", "har", "connections"])
def test_no_format_holds_a_token(k8s: E2ECluster, tmp_path: Path, output: str) -> None:
    packets = tmp_path / "packets.pcapng"
    verbose = ["-vv"] if output == "text" else []
    arguments = [*k8s.session_arguments("deployment/app"), "-p", "8080", "-o", output, *verbose]
    with Podmirror(k8s, "inspect", *arguments, "-w", str(packets)) as podmirror:
        podmirror.until_said("watching port 8080")
        request(k8s, f"client-token-{output}")
        until(lambda: "connection" in podmirror.out or "/29" in podmirror.out, "all is told")
        assert podmirror.interrupt() == 0
        shown = podmirror.out

    assert TOKEN not in shown + text_of(packets)
    if output != "connections":
        assert "redacted-" in shown
        assert "redacted-" in text_of(packets), "packets are filled from what was redacted"
    captured = subprocess.run(["tshark", "-r", packets], capture_output=True, text=True, check=True)
    assert "POST /orders/27 HTTP/1.1" in captured.stdout


def text_of(path: Path) -> str:
    return path.read_bytes().decode("latin-1")


def test_what_is_not_selected_does_not_cross_the_tunnel(k8s: E2ECluster) -> None:
    arguments = [*k8s.session_arguments("deployment/app"), "-p", "8080", "-o", "jsonl", "--path", "/orders"]
    with Podmirror(k8s, "inspect", *arguments) as podmirror:
        podmirror.until_said("watching port 8080")
        request(k8s, "client-selected")
        until(lambda: podmirror.out.count("\n") >= 10, "the selected are shown")
        assert podmirror.interrupt() == 0
        assert "left out: 20 exchanges were not selected" in podmirror.err
        shown = [json.loads(line) for line in podmirror.out.splitlines()]

    assert [each["path"] for each in shown] == [f"/orders/{number}" for number in range(0, 30, 3)]
    assert {each["state"] for each in shown} == {"complete"}
