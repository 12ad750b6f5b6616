"""From the states of containers to the status of a pod: phase, conditions, readiness.

Ephemeral containers take no part: a pod whose app has ended is over, whatever still runs beside it, and a dead agent
does not make a pod unready (`getPhase` in `pkg/kubelet/kubelet_pods.go`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from podmirror_sandbox.cluster.objects import Object, condition, merge_conditions

if TYPE_CHECKING:
    from datetime import datetime


def pod_phase(restart_policy: str, init: list[Object], regular: list[Object]) -> str:
    """The phase that follows from the statuses of init and regular containers."""
    for status in init:
        ended = status["state"].get("terminated")
        if ended is not None and ended["exitCode"] == 0:
            continue
        failed = ended is not None and restart_policy == "Never"
        return "Failed" if failed else "Pending"
    running = waiting = stopped = succeeded = 0
    for status in regular:
        state = status["state"]
        if "running" in state:
            running += 1
        elif "terminated" in state:
            stopped += 1
            succeeded += state["terminated"]["exitCode"] == 0
        elif (status.get("lastState") or {}).get("terminated"):
            stopped += 1
        else:
            waiting += 1
    if waiting:
        return "Pending"
    if running or restart_policy == "Always":
        return "Running"
    if stopped == succeeded:
        return "Succeeded"
    return "Failed" if restart_policy == "Never" else "Running"


def pod_conditions(
    phase: str, init: list[Object], regular: list[Object], now: datetime, old: list[Object]
) -> list[Object]:
    """The conditions, each keeping the time of its last change."""
    initialized = all(_succeeded(status) for status in init)
    unready = [status["name"] for status in regular if not status["ready"]]
    why: dict[str, str] = {}
    if phase == "Succeeded":
        why = {"reason": "PodCompleted"}
    elif phase == "Failed":
        why = {"reason": "PodFailed"}
    elif unready:
        message = f"containers with unready status: [{' '.join(unready)}]"
        why = {"reason": "ContainersNotReady", "message": message}
    ready = not unready
    pending = [status["name"] for status in init if not _succeeded(status)]
    incomplete = {
        "reason": "ContainersNotInitialized",
        "message": f"containers with incomplete status: [{' '.join(pending)}]",
    }
    conditions = [
        condition("PodReadyToStartContainers", True, now),
        condition("Initialized", initialized, now, **({} if initialized else incomplete)),
        condition("Ready", ready, now, **({} if ready else why)),
        condition("ContainersReady", ready, now, **({} if ready else why)),
        condition("PodScheduled", True, now),
    ]
    return merge_conditions(old, conditions)


def is_ready(pod: Object) -> bool:
    """Whether the pod's Ready condition is true."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


def is_finished(pod: Object) -> bool:
    """Whether no regular container will ever run in it again."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def is_settled(pod: Object) -> bool:
    """Whether waiting longer for this pod would not change anything: it is ready, over, or stuck with a reason."""
    if is_ready(pod) or is_finished(pod):
        return True
    status = pod.get("status") or {}
    statuses = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    reasons = {(entry["state"].get("waiting") or {}).get("reason") for entry in statuses}
    return bool(reasons - {None, "ContainerCreating", "PodInitializing"})


def _succeeded(status: Object) -> bool:
    ended = status["state"].get("terminated")
    return ended is not None and bool(ended["exitCode"] == 0)
