"""Jobs with one completion: a pod, its retries, its deadline, and the clean-up after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podmirror_sandbox.cluster.events import record
from podmirror_sandbox.cluster.objects import (
    Object,
    condition,
    is_controlled_by,
    is_deleting,
    name_of,
    namespace_of,
    seconds_after,
    timestamp,
)
from podmirror_sandbox.cluster.phases import is_ready
from podmirror_sandbox.cluster.podcreation import create_pod, next_try
from podmirror_sandbox.cluster.registry import DeleteOptions, Registry
from podmirror_sandbox.cluster.resources import JOBS, PODS

if TYPE_CHECKING:
    from datetime import datetime


def reconcile_jobs(registry: Registry) -> datetime | None:
    """Start pods, see how they ended, and clean up.

    Returns:
        When a deadline or a time to live makes it worthwhile to look again, or None.
    """
    wakeups = [_reconcile(registry, job) for job in registry.store.all_of(JOBS)]
    return min((wakeup for wakeup in wakeups if wakeup is not None), default=None)


def _reconcile(registry: Registry, job: Object) -> datetime | None:
    spec, status = job["spec"], dict(job.get("status") or {})
    if _finished_at(status):
        return _expire(registry, job, _finished_at(status))
    if spec.get("suspend"):
        return None
    now = registry.clock()
    status.setdefault("startTime", timestamp(now))
    pods = [pod for pod in registry.store.all_of(PODS, namespace_of(job)) if is_controlled_by(pod, job)]
    active = [pod for pod in pods if _phase(pod) in ("Pending", "Running") and not is_deleting(pod)]
    failed = sum(_phase(pod) == "Failed" for pod in pods)
    succeeded = sum(_phase(pod) == "Succeeded" for pod in pods)
    # With restartPolicy OnFailure the kubelet restarts in place, and the restarts count against the limit.
    restarts = sum(_restarts(pod) for pod in active)
    deadline = retry = None
    if "activeDeadlineSeconds" in spec:
        deadline = seconds_after(status["startTime"], spec["activeDeadlineSeconds"])
    if succeeded >= spec["completions"]:
        status = _complete(status, now)
        record(registry, job, "Completed", "Job completed", source="job-controller")
    elif deadline is not None and now >= deadline:
        message = "Job was active longer than specified deadline"
        _fail(registry, job, status, active, "DeadlineExceeded", message)
        active = []
    elif failed > spec["backoffLimit"] or restarts > spec["backoffLimit"]:
        message = "Job has reached the specified backoff limit"
        _fail(registry, job, status, active, "BackoffLimitExceeded", message)
        active = []
    elif not active and not any(is_deleting(pod) for pod in pods):
        pod = create_pod(registry, job, source="job-controller")
        active = [pod] if pod is not None else []
        retry = next_try(registry, job) if pod is None else None
    counts = {
        "active": len(active),
        "ready": sum(is_ready(pod) for pod in active),
        "failed": failed,
        "succeeded": succeeded,
        "terminating": sum(is_deleting(pod) for pod in pods),
    }
    status = {**status, **counts}
    for field in ("active", "failed", "succeeded"):
        if not status[field]:
            del status[field]
    registry.set_status(JOBS, job, status)
    if _finished_at(status):
        return now
    return min((due for due in (deadline, retry) if due is not None), default=None)


def _finished_at(status: Object) -> str:
    """When a Job completed or failed, or nothing."""
    for entry in status.get("conditions") or []:
        if entry["type"] in ("Complete", "Failed") and entry["status"] == "True":
            return str(entry["lastTransitionTime"])
    return ""


def _expire(registry: Registry, job: Object, finished: str) -> datetime | None:
    ttl = job["spec"].get("ttlSecondsAfterFinished")
    if ttl is None:
        return None
    due = seconds_after(finished, ttl)
    if registry.clock() < due:
        return due
    options = DeleteOptions(propagation="Background")
    registry.delete(JOBS, namespace_of(job), name_of(job), options)
    return None


def _complete(status: Object, now: datetime) -> Object:
    conditions = [
        condition("SuccessCriteriaMet", True, now, reason="CompletionsReached"),
        condition("Complete", True, now, reason="CompletionsReached"),
    ]
    return {**status, "completionTime": timestamp(now), "conditions": conditions}


def _fail(
    registry: Registry, job: Object, status: Object, active: list[Object], reason: str, message: str
) -> None:
    now = registry.clock()
    for pod in active:
        registry.delete(PODS, namespace_of(pod), name_of(pod))
    status["conditions"] = [
        condition("FailureTarget", True, now, reason=reason, message=message),
        condition("Failed", True, now, reason=reason, message=message),
    ]
    record(registry, job, reason, message, warning=True, source="job-controller")


def _phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase", "Pending"))


def _restarts(pod: Object) -> int:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return sum(status["restartCount"] for status in statuses)
