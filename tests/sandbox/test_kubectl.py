"""kubectl against a running sandbox, where there is a kubectl."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.sandbox.conftest import RunningSandbox

pytestmark = [
    pytest.mark.namespaces,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl"),
]

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: web, image: "python:3.12", command: [sh, -c, "echo started; sleep 1000"]}
"""

Kubectl = "Callable[..., str]"


@pytest.fixture
def kubectl(sandbox: RunningSandbox, tmp_path: Path) -> Callable[..., str]:
    # HOME is where kubectl keeps its cache of discovery documents.
    environment = {**os.environ, "KUBECONFIG": str(sandbox.kubeconfig), "HOME": str(tmp_path)}

    def run(*args: str, text: str = "") -> str:
        ended = subprocess.run(
            ["kubectl", "--request-timeout=20s", *args],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env=environment,
            input=text,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    return run


def test_a_day_with_kubectl(kubectl: Callable[..., str]) -> None:
    assert "deployment.apps/web created" in kubectl("apply", "-f", "-", text=DEPLOYMENT)
    kubectl("rollout", "status", "deployment/web", "--timeout=20s")
    assert "deployment.apps/web unchanged" in kubectl("apply", "-f", "-", text=DEPLOYMENT)
    lines = kubectl("get", "pods", "-l", "app=web").splitlines()
    assert lines[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert lines[1].split()[1:3] == ["1/1", "Running"]
    assert "10.244.0." in kubectl("get", "pods", "-A", "-o", "wide")
    pod = json.loads(kubectl("get", "pods", "-l", "app=web", "-o", "json"))["items"][0]["metadata"]["name"]
    assert kubectl("logs", pod) == "started\n"
    assert "Container started: web" in kubectl("describe", "pod", pod)

    kubectl("debug", pod, "--image=sandbox/host", "-c", "dbg", "--", "sh", "-c", "echo hello")
    wanted = "jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.exitCode}=0"
    kubectl("wait", f"pod/{pod}", f"--for={wanted}", "--timeout=20s")
    assert kubectl("logs", pod, "-c", "dbg") == "hello\n"

    kubectl("scale", "deployment", "web", "--replicas=2")
    kubectl("rollout", "status", "deployment/web", "--timeout=20s")
    kubectl("rollout", "restart", "deployment/web")
    kubectl("rollout", "status", "deployment/web", "--timeout=20s")
    lines = kubectl("get", "deployments,replicasets,jobs,nodes,namespaces,events").splitlines()
    assert any(line.startswith("deployment.apps/web") and "2/2" in line for line in lines)
    kubectl("delete", "deployment", "web", "--timeout=20s")
    assert kubectl("auth", "can-i", "create", "pods/portforward") == "yes\n"
    assert "pods" in kubectl("api-resources")
