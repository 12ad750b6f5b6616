from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from podmirror_sandbox.cluster.objects import timestamp
from podmirror_sandbox.cluster.resources import CONFIG_MAPS, PODS
from podmirror_sandbox.cluster.tables import age, pod_reason, table

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def pod(phase: str, state: dict[str, Any], **more: Any) -> dict[str, Any]:
    statuses = [{"name": "c", "ready": "running" in state, "restartCount": 2, "state": state}]
    metadata = {"name": "p", "creationTimestamp": timestamp(NOW - timedelta(seconds=90)), **more}
    spec = {"containers": [{"name": "c"}], "nodeName": "node1"}
    return {"metadata": metadata, "spec": spec, "status": {"phase": phase, "containerStatuses": statuses}}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (5, "5s"),
        (119, "119s"),
        (150, "2m30s"),
        (180, "3m"),
        (3600, "60m"),
        (4 * 3600, "4h"),
        (30 * 3600, "30h"),
        (3 * 86400, "3d"),
    ],
)
def test_age_is_printed_as_kubectl_does(seconds: int, text: str) -> None:
    assert age(timestamp(NOW - timedelta(seconds=seconds)), NOW) == text


def test_pod_row() -> None:
    made = table(PODS, [pod("Running", {"running": {}})], NOW, "7")
    assert made["rows"][0]["cells"][:7] == ["p", "1/1", "Running", 2, "90s", "<none>", "node1"]
    assert [column["name"] for column in made["columnDefinitions"] if not column["priority"]] == [
        "Name", "Ready", "Status", "Restarts", "Age",
    ]  # fmt: skip
    assert table(PODS, [], NOW, "7", columns=False)["columnDefinitions"] == []


def test_status_column_says_what_is_most_telling() -> None:
    assert pod_reason(pod("Running", {"waiting": {"reason": "CrashLoopBackOff"}})) == "CrashLoopBackOff"
    assert pod_reason(pod("Succeeded", {"terminated": {"reason": "Completed"}})) == "Completed"
    assert pod_reason(pod("Running", {"running": {}}, deletionTimestamp="x")) == "Terminating"
    waiting = pod("Pending", {"waiting": {"reason": "PodInitializing"}})
    waiting["spec"]["initContainers"] = [{"name": "i"}]
    waiting["status"]["initContainerStatuses"] = [
        {"name": "i", "state": {"waiting": {"reason": "PodInitializing"}}}
    ]
    assert pod_reason(waiting) == "Init:0/1"


def test_an_init_container_that_runs_keeps_the_others_back() -> None:
    waiting = pod("Pending", {"waiting": {"reason": "PodInitializing"}})
    waiting["spec"]["initContainers"] = [{"name": "i"}]
    waiting["status"]["initContainerStatuses"] = [
        {"name": "i", "ready": True, "started": True, "restartCount": 0, "state": {"running": {}}}
    ]

    assert pod_reason(waiting) == "Init:0/1"


def test_a_sidecar_counts_as_a_container() -> None:
    meshed = pod("Running", {"waiting": {"reason": "CrashLoopBackOff"}})
    meshed["spec"]["initContainers"] = [{"name": "setup"}, {"name": "proxy", "restartPolicy": "Always"}]
    meshed["status"]["initContainerStatuses"] = [
        {"name": "setup", "ready": True, "restartCount": 1, "state": {"terminated": {"exitCode": 0}}},
        {"name": "proxy", "ready": True, "started": True, "restartCount": 3, "state": {"running": {}}},
    ]

    made = table(PODS, [meshed], NOW, "7")

    assert made["rows"][0]["cells"][:4] == ["p", "1/2", "CrashLoopBackOff", 5]


def test_other_kinds_have_name_and_age() -> None:
    made = table(CONFIG_MAPS, [{"metadata": {"name": "c"}}], NOW, "7")
    assert made["rows"][0]["cells"] == ["c", "<unknown>"]
