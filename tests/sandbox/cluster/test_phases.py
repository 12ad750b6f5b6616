from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from podmirror_sandbox.cluster.phases import is_settled, pod_conditions, pod_phase

RUNNING: dict[str, Any] = {"running": {}}
WAITING: dict[str, Any] = {"waiting": {"reason": "ContainerCreating"}}


def ended(code: int) -> dict[str, Any]:
    return {"terminated": {"exitCode": code}}


def status(state: dict[str, Any], last: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"name": "c", "state": state, "lastState": last or {}, "ready": "running" in state}


@pytest.mark.parametrize(
    ("policy", "states", "phase"),
    [
        ("Always", [WAITING], "Pending"),
        ("Always", [RUNNING, WAITING], "Pending"),
        ("Always", [RUNNING, ended(1)], "Running"),
        ("Always", [ended(0)], "Running"),
        ("Never", [ended(0), ended(0)], "Succeeded"),
        ("Never", [ended(0), ended(1)], "Failed"),
        ("OnFailure", [ended(1)], "Running"),
        ("OnFailure", [ended(0)], "Succeeded"),
    ],
)
def test_phase_of_regular_containers(policy: str, states: list[dict[str, Any]], phase: str) -> None:
    assert pod_phase(policy, [], [status(state) for state in states]) == phase


def test_crash_loop_is_running() -> None:
    assert pod_phase("Always", [], [status(WAITING, ended(1))]) == "Running"


def test_init_containers_come_first() -> None:
    assert pod_phase("Never", [status(RUNNING)], [status(WAITING)]) == "Pending"
    assert pod_phase("Never", [status(ended(1))], [status(WAITING)]) == "Failed"
    assert pod_phase("Always", [status(ended(1))], [status(WAITING)]) == "Pending"
    assert pod_phase("Always", [status(ended(0))], [status(RUNNING)]) == "Running"


def test_conditions_keep_the_time_of_their_last_change() -> None:
    first, second = (datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2))
    old = pod_conditions("Pending", [], [status(WAITING)], first, [])
    new = {entry["type"]: entry for entry in pod_conditions("Running", [], [status(RUNNING)], second, old)}
    assert new["Ready"] == {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-02T00:00:00Z"}
    assert new["PodScheduled"]["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert next(entry for entry in old if entry["type"] == "Ready")["reason"] == "ContainersNotReady"


def test_a_stuck_pod_is_settled_and_a_starting_one_is_not() -> None:
    stuck = {"waiting": {"reason": "ErrImagePull"}}
    assert is_settled({"status": {"containerStatuses": [status(stuck)]}})
    assert not is_settled({"status": {"containerStatuses": [status(WAITING)]}})
    assert not is_settled({})
