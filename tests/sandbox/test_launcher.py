"""However the sandbox ends, nothing of it stays."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.sandbox.conftest import RunningSandbox, descendants, is_alive

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.namespaces

POD = """
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  containers:
  - {name: c, image: sandbox/host, command: [sleep, "1000"]}
"""


def wait_for_end(pids: list[int]) -> None:
    deadline = time.monotonic() + 10
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, f"still there: {[pid for pid in pids if is_alive(pid)]}"
        time.sleep(0.02)


def interfaces() -> str:
    return subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("victim", ["launcher", "unshare", "node", "stdin", "SIGTERM", "SIGINT"])
def test_nothing_stays(start_sandbox: Callable[..., RunningSandbox], tmp_path: Path, victim: str) -> None:
    manifest = tmp_path / "pod.yaml"
    manifest.write_text(POD)
    sandbox = start_sandbox("--manifest", str(manifest))
    launcher = sandbox.process.pid
    assert sandbox.ready["pid"] == launcher
    pids = descendants(launcher)
    # unshare, the node, and the pod: its unshare and its command.
    assert len(pids) == 4
    assert sandbox.kubeconfig.exists()
    errors = ""
    if victim == "stdin":
        errors = sandbox.close()
    elif victim.startswith("SIG"):
        sandbox.process.send_signal(getattr(signal, victim))
    else:
        os.kill({"launcher": launcher, "unshare": pids[0], "node": pids[1]}[victim], signal.SIGKILL)
    if victim != "stdin":
        # Before `communicate`, which closes standard input and so asks it to end.
        sandbox.process.wait(20)
        errors = sandbox.process.communicate(timeout=20)[1].decode()
    wait_for_end(pids)
    assert not sandbox.kubeconfig.parent.exists()
    if victim in ("unshare", "node"):
        assert sandbox.process.returncode == 1
        # util-linux 2.38 adds a line of its own when the child of `unshare` was killed.
        sentence = "The sandbox's node ended unexpectedly; everything in it is gone."
        assert errors.endswith(f"podmirror-sandbox: {sentence}\n")
    elif victim != "launcher":
        assert (sandbox.process.returncode, errors) == (0, "")


def test_nothing_shows_on_the_host(start_sandbox: Callable[..., RunningSandbox]) -> None:
    def own(listing: str) -> set[str]:
        return {line.split()[0] for line in listing.splitlines() if "cni0" in line}

    before = own(interfaces())
    sandbox = start_sandbox("--app")
    assert own(interfaces()) == before
    assert not Path("/dev/termination-log").exists()
    assert not Path("/run/podmirror-sandbox").exists()
    assert sandbox.close() == ""


def test_the_kubeconfig_goes_where_it_is_wanted(
    start_sandbox: Callable[..., RunningSandbox], tmp_path: Path
) -> None:
    path = tmp_path / "config"
    sandbox = start_sandbox("--kubeconfig", str(path))
    assert sandbox.kubeconfig == path
    assert json.loads(path.read_text())["current-context"] == "sandbox"
    sandbox.process.kill()
    sandbox.process.communicate()
    deadline = time.monotonic() + 10
    while path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert tmp_path.exists()


def run(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "podmirror_sandbox", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.usefixtures("sandbox")
def test_a_file_of_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("mine")
    ended = run("up", "--kubeconfig", str(path))
    assert ended.returncode == 2
    assert "exists and is not empty" in ended.stderr
    assert path.read_text() == "mine"


@pytest.mark.usefixtures("sandbox")
def test_manifests_that_are_refused_say_why(tmp_path: Path) -> None:
    manifest = tmp_path / "m.yaml"
    manifest.write_text("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {}\n")
    ended = run("up", "--manifest", str(manifest))
    assert ended.returncode == 5
    assert 'Pod "p" is invalid: spec.containers: Required value' in ended.stderr
    manifest.write_text("just words")
    ended = run("up", "--manifest", str(manifest))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "no Kubernetes object" in ended.stderr


@pytest.mark.usefixtures("sandbox")
def test_check_says_that_it_can_run() -> None:
    ended = run("check")
    assert (ended.returncode, ended.stdout) == (0, "The sandbox can run here.\n")


def test_a_machine_without_the_tools_is_told_what_is_missing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "podmirror_sandbox", "up"]
    environment = {"PATH": str(tmp_path), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=environment)
    assert (ended.returncode, ended.stdout) == (5, "")
    assert "The program nsenter is missing: install the package util-linux." in ended.stderr


def test_ready_line_comes_when_the_app_runs(start_sandbox: Callable[..., RunningSandbox]) -> None:
    sandbox = start_sandbox("--app")
    output = sandbox.process.stdout
    assert output is not None
    # Exactly one line: nothing else is to be read.
    assert select.select([output], [], [], 0.1)[0] == []
    init_and_node, containers = 2, 3
    # Each container is a process and the `unshare` that holds its namespaces.
    assert len(descendants(sandbox.process.pid)) == init_and_node + 2 * containers
