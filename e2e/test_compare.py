"""`compare`: both kinds of agents measured, and its figures held against what others say of the same."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster import E2ECluster, code, until
from e2e.nodeview import KINDS, namespaces_of, payload_between, pid_of, tcpdump, watching
from e2e.running import run
from e2e.sessions import Podmirror
from e2e.shops import HARMLESS, RESOURCES, UNPRIVILEGED, jobs, shop
from tests.stopwatch import Stopwatch

WEB = """
    import http.server

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "3")
            self.end_headers()
            self.wfile.write(b"ok\\n")

        def log_message(self, *arguments):
            pass

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 128

    server = Server(("", 8080), Handler)
    print("the app listens", flush=True)
    server.serve_forever()
"""
SECONDS = 2
LOAD = ("--load", "100", "--seconds", str(SECONDS))
COMPARE_SECONDS = 240.0

pytestmark = pytest.mark.timeout(500)


@contextmanager
def web(k8s: E2ECluster, name: str, **spec: object) -> Iterator[str]:
    """Run a pod that answers GET, and give the word by which its process is known."""
    marker = f"{name}-{k8s.namespace}"
    container = {
        "name": "app",
        "image": k8s.app_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", code(WEB), marker],
        "ports": [{"containerPort": 8080}],
        "securityContext": HARMLESS,
        "resources": RESOURCES,
    }
    body = {
        "containers": [container],
        "securityContext": UNPRIVILEGED,
        "terminationGracePeriodSeconds": 1,
        **spec,
    }
    k8s.core.create_namespaced_pod(k8s.namespace, {"metadata": {"name": name}, "spec": body})
    k8s.until_listening(name)
    try:
        yield marker
    finally:
        k8s.core.delete_namespaced_pod(name, k8s.namespace, grace_period_seconds=0)


@pytest.fixture(scope="module")
def site(k8s: E2ECluster) -> Iterator[str]:
    with web(k8s, "site") as marker:
        yield marker


def compare(k8s: E2ECluster, pod: str, *arguments: str, exit_code: int = 0) -> dict[str, Any]:
    """Run `compare`, and give what it found."""
    done = run(
        k8s,
        *("compare", *k8s.session_arguments(f"pod/{pod}"), "-o", "json", *arguments),
        seconds=COMPARE_SECONDS,
    )
    assert done.returncode == exit_code, done.stderr
    assert "leaves a finished entry" in done.stderr
    return json.loads(done.stdout)


def runs_of(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for column in found["columns"] for each in column["runs"]]


def test_both_columns_are_filled_and_two_comparisons_agree(k8s: E2ECluster, site: str) -> None:
    with Stopwatch() as comparing:
        first, second = (compare(k8s, "site", *LOAD, "--runs", "2") for _ in range(2))

    for found in (first, second):
        assert [column["mode"] for column in found["columns"]] == ["ephemeral", "job"]
        assert all(column["runs"] and not column["refusals"] for column in found["columns"])
        for column in found["columns"]:  # an API server that lags behind may cost a run, and then says so
            assert len(column["runs"]) + len(column["failures"]) == 2, column["failures"]
        for each in runs_of(found):
            assert all(isinstance(taken, float) for taken in each["phases"].values()), each["phases"]
            fidelity, during = each["fidelity"], each["effect"]["windows"]["during"]
            assert fidelity["arrived_requests"] == fidelity["passed_requests"] > 0
            assert fidelity["ledger"]["lost_bytes"] == 0
            assert fidelity["ledger"]["delivered_bytes"] >= during["sent_bytes"]
            assert not during["errors"]
            assert 0 < min(fidelity["latencies"]) < 1 + comparing.held_up
        assert "Neither lost anything." in found["verdict"]
        overlap = _overlap(*(column["medians"]["start"] for column in found["columns"]))
        assert any("cannot tell which of them starts sooner" in each for each in found["verdict"]) is overlap
    for one, other in zip(first["columns"], second["columns"], strict=True):
        starts = [column["medians"]["start"] for column in (one, other)]
        apart = abs(starts[0]["median"] - starts[1]["median"])
        # Two runs each, on a machine that may do other things.
        assert _overlap(*starts) or apart < 2.0 + comparing.held_up, starts


def _overlap(one: dict[str, float], other: dict[str, float]) -> bool:
    return one["minimum"] <= other["maximum"] and other["minimum"] <= one["maximum"]


def test_each_ephemeral_run_leaves_one_entry_and_a_job_none(k8s: E2ECluster, site: str) -> None:
    def entries() -> int:
        return len(k8s.core.read_namespaced_pod("site", k8s.namespace).spec.ephemeral_containers or [])

    before = entries()
    found = compare(k8s, "site", "--runs", "1", "--seconds", "0.5")

    assert entries() == before + 1
    ephemeral, job = (column["runs"][0]["leftovers"] for column in found["columns"])
    assert ephemeral["entries"] == [before + 1, 1]
    assert job["entries"][1] == 0
    assert all(isinstance(each, float) for each in (ephemeral["ended"], job["ended"], job["gone"]))
    assert not jobs(k8s)
    assert "unknown" in found["columns"][0]["runs"][0]["effect"]["windows"]["during"], "there was no load"


def test_start_times_agree_with_the_api_servers_own(k8s: E2ECluster, site: str) -> None:
    with Stopwatch() as comparing:
        found = compare(k8s, "site", *LOAD, "--runs", "1")

    for each in runs_of(found):
        started = {
            event.reason: (event.first_timestamp or event.last_timestamp).timestamp()
            for event in k8s.core.list_namespaced_event(k8s.namespace).items
            if each["agent"] in (event.involved_object.field_path or "")
        }
        moment = each["began"]
        for name, taken in each["phases"].items():
            moment += taken
            reason = {"pulled": "Pulled", "started": "Started"}.get(name)
            if reason is not None:  # the API server knows whole seconds
                late = moment - started[reason]
                assert -0.2 <= late <= 5.0 + comparing.held_up, (each["mode"], name, late)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("tcpdump"), reason="takes root and tcpdump")
def test_bytes_agree_with_tcpdump(k8s: E2ECluster, site: str, tmp_path: Path) -> None:
    pid = pid_of(site)
    if pid is None:
        pytest.skip("the node is another machine")
    file = tmp_path / "site.pcap"

    with tcpdump(pid, 8080, file), Stopwatch() as comparing:
        found = compare(k8s, "site", *LOAD, "--runs", "1")

    for each in runs_of(found):
        during, cost = each["effect"]["windows"]["during"], each["cost"]
        assert (
            payload_between(file, during["began"], during["began"] + during["seconds"])
            == during["sent_bytes"]
        )
        subscribed = each["began"] + sum(each["phases"].values()) - each["phases"]["first byte"]
        ended = cost["began"] + cost["seconds"]
        captured = payload_between(file, subscribed, ended)
        request = during["sent_bytes"] / (len(during["latencies"]) or 1)
        on_their_way = 5 + 100 * comparing.held_up  # at the subscription
        assert abs(captured - cost["seen_bytes"]) <= on_their_way * request


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root")
def test_cost_and_namespaces_agree_with_the_nodes(k8s: E2ECluster, site: str) -> None:
    pid = pid_of(site)
    if pid is None:
        pytest.skip("the node is another machine")
    with watching(k8s) as seen:
        found = compare(k8s, "site", *LOAD, "--runs", "1")

    assert found["target_namespaces"] == namespaces_of(pid)
    for each in runs_of(found):
        node, cost = seen[each["agent"]], each["cost"]
        assert each["namespaces"] == node.namespaces
        least, most = node.cpu_between(cost["began"], cost["began"] + cost["seconds"])
        assert least - 0.05 <= cost["cpu"] <= most + 0.05, (least, cost["cpu"], most)
        assert abs(cost["memory"] - max(each.memory for each in node.samples)) < 8 << 20
        charged = cost["limits"].get("cgroup.memory.current")
        seen_charged = [each.charged for each in node.samples if each.charged is not None]
        assert (charged is None) == (not seen_charged)
        if charged is not None:
            assert abs(int(charged) - max(seen_charged)) < 8 << 20


def shared_by(found: dict[str, Any], mode: str) -> dict[str, bool]:
    (column,) = (each for each in found["columns"] if each["mode"] == mode)
    own, target = column["runs"][0]["namespaces"], found["target_namespaces"]
    return {kind: own[kind] == target[kind] for kind in KINDS}


def test_the_seven_namespaces(k8s: E2ECluster, site: str) -> None:
    if k8s.is_sandbox:
        pytest.skip(
            "the sandbox makes net, mnt, pid and uts namespaces only, and ignores targetContainerName"
        )
    found = compare(k8s, "site", "--runs", "1", "--seconds", "0.5", "--with-target-container")

    of_the_pod = {"ipc": True, "net": True, "uts": True, "user": True, "mnt": False}
    ephemeral, beside = (shared_by(found, mode) for mode in ("ephemeral", "ephemeral, targetContainerName"))
    assert ephemeral == {**ephemeral, **of_the_pod, "pid": False}
    assert beside == {**beside, **of_the_pod, "pid": True}
    job = shared_by(found, "job")
    assert job == {**job, "ipc": False, "net": False, "uts": False, "user": True, "mnt": False, "pid": False}


def test_a_pod_that_shares_its_process_namespace(k8s: E2ECluster) -> None:
    if k8s.is_sandbox:
        pytest.skip("the sandbox does not act on shareProcessNamespace")
    with web(k8s, "sharing", shareProcessNamespace=True):
        found = compare(k8s, "sharing", "--runs", "1", "--seconds", "0.5")

    assert shared_by(found, "ephemeral")["pid"] is True
    assert shared_by(found, "job")["pid"] is False


@pytest.mark.parametrize("level", ["baseline", "restricted"])
def test_a_refused_mode_is_a_row_with_the_servers_words(k8s: E2ECluster, level: str) -> None:
    with (
        shop(k8s, f"compare-{level}", level=level) as strict,
        web(strict, "site"),
        shop(k8s, f"agents-{level}") as apart,
    ):
        elsewhere = ("--agent-namespace", apart.namespace) if level == "restricted" else ()
        found = compare(strict, "site", *LOAD, "--runs", "1", *elsewhere)

    ephemeral, job = found["columns"]
    refused, complete = (job, ephemeral) if level == "baseline" else (ephemeral, job)
    assert not refused["runs"]
    assert f'violates PodSecurity "{level}:latest"' in refused["refusals"][0]
    assert not complete["refusals"]
    (measured,) = complete["runs"]
    assert measured["fidelity"]["arrived_requests"] == measured["fidelity"]["passed_requests"] > 0
    if level == "baseline":
        assert measured["ask"]["level"] == "baseline"
    assert found["verdict"][0].startswith(
        f"Use the {'ephemeral' if level == 'baseline' else 'Job'} agent here"
    )


def test_both_at_once_see_the_same_traffic(k8s: E2ECluster, site: str) -> None:
    found = compare(k8s, "site", *LOAD, "--runs", "1", "--together")

    ephemeral, job = runs_of(found)
    assert ephemeral["effect"]["windows"] == job["effect"]["windows"]
    for each in (ephemeral, job):
        assert each["fidelity"]["arrived_requests"] == each["fidelity"]["passed_requests"] > 0


def test_ctrl_c_leaves_nothing_but_the_entry(k8s: E2ECluster, site: str) -> None:
    arguments = (
        "compare",
        *k8s.session_arguments("pod/site"),
        "--seconds",
        "60",
        "--together",
        "--runs",
        "1",
    )
    with Podmirror(k8s, *arguments) as podmirror:
        podmirror.until_said("leaves a finished entry")
        podmirror.interrupt()
    until(lambda: not jobs(k8s), "no Job is left")
    until(
        lambda: all(each.state.terminated for each in k8s.agents("site")),
        "no agent runs any more",
    )


@pytest.mark.parametrize("form", ["text", "markdown", "html"])
def test_every_form_is_printed(k8s: E2ECluster, site: str, form: str) -> None:
    arguments = ("compare", *k8s.session_arguments("pod/site"), "-o", form, "--runs", "1", "--seconds", "0.5")
    done = run(k8s, *arguments, seconds=COMPARE_SECONDS)

    assert done.returncode == 0
    for word in ("Start", "Fidelity", "Cost", "Ask", "Namespaces", "Effect on the target", "Left behind"):
        assert word in done.stdout


def test_a_target_without_a_port_is_asked_for_one(k8s: E2ECluster) -> None:
    done = run(k8s, "compare", *k8s.session_arguments("deployment/app"))

    usage = 2
    assert done.returncode == usage
    assert "declares no TCP port; name those that it listens on with -p" in done.stderr
