"""CronJobs: a Job at each minute that the schedule names. Concurrency policies are not known."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import TYPE_CHECKING

from podmirror_sandbox.cluster.events import record
from podmirror_sandbox.cluster.objects import (
    Object,
    is_controlled_by,
    name_of,
    namespace_of,
    owner_reference,
    parse_timestamp,
    timestamp,
    uid_of,
)
from podmirror_sandbox.cluster.registry import DeleteOptions, Registry
from podmirror_sandbox.cluster.resources import CRON_JOBS, JOBS
from podmirror_sandbox.cluster.schedules import is_due, parse_schedule

if TYPE_CHECKING:
    from datetime import datetime


def reconcile_cron_jobs(registry: Registry) -> datetime | None:
    """Make the Jobs that are due, forget old ones, and report.

    Returns:
        When to look again, or None.
    """
    cron_jobs = registry.store.all_of(CRON_JOBS)
    minute = registry.clock().replace(second=0, microsecond=0)
    for cron_job in cron_jobs:
        last = (cron_job.get("status") or {}).get("lastScheduleTime")
        since = parse_timestamp(last or cron_job["metadata"]["creationTimestamp"])
        schedule = parse_schedule(cron_job["spec"]["schedule"])
        if since < minute and is_due(schedule, minute) and not cron_job["spec"]["suspend"]:
            _create(registry, cron_job, minute)
            last = timestamp(minute)
        _report(registry, cron_job, last)
    return minute + timedelta(minutes=1) if cron_jobs else None


def _create(registry: Registry, cron_job: Object, minute: datetime) -> None:
    template = cron_job["spec"]["jobTemplate"]
    metadata = copy.deepcopy(template.get("metadata") or {})
    name = f"{name_of(cron_job)}-{int(minute.timestamp()) // 60}"
    metadata |= {"name": name, "ownerReferences": [owner_reference(cron_job)]}
    if registry.store.find(JOBS, namespace_of(cron_job), name) is None:
        registry.create(
            JOBS, namespace_of(cron_job), {"metadata": metadata, "spec": copy.deepcopy(template["spec"])}
        )
        record(registry, cron_job, "SuccessfulCreate", f"Created job {name}", source="cronjob-controller")


def _report(registry: Registry, cron_job: Object, last: str | None) -> None:
    namespace = namespace_of(cron_job)
    jobs = [job for job in registry.store.all_of(JOBS, namespace) if is_controlled_by(job, cron_job)]
    for kind, limit in (("Complete", "successfulJobsHistoryLimit"), ("Failed", "failedJobsHistoryLimit")):
        ended = [job for job in jobs if _has_ended(job, kind)]
        ended.sort(key=lambda job: (job["metadata"]["creationTimestamp"], name_of(job)))
        for job in ended[: max(0, len(ended) - cron_job["spec"][limit])]:
            registry.delete(JOBS, namespace, name_of(job), DeleteOptions(propagation="Background"))
    active = [job for job in jobs if not _has_ended(job, "Complete") and not _has_ended(job, "Failed")]
    status: Object = {"lastScheduleTime": last} if last else {}
    if active:
        status["active"] = [
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "namespace": namespace,
                "name": name_of(job),
                "uid": uid_of(job),
            }
            for job in active
        ]
    registry.set_status(CRON_JOBS, cron_job, status)


def _has_ended(job: Object, kind: str) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or []
    return any(entry["type"] == kind and entry["status"] == "True" for entry in conditions)
