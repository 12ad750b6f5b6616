"""CronJobs, with the test as the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from podmirror_sandbox.cluster.apierrors import ApiError
from podmirror_sandbox.cluster.controllers import reconcile
from podmirror_sandbox.cluster.resources import CRON_JOBS, JOBS, PODS
from podmirror_sandbox.cluster.schedules import is_due, parse_schedule

if TYPE_CHECKING:
    from podmirror_sandbox.cluster.registry import Registry

TEMPLATE = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}}
START = datetime(2026, 1, 1, 3, 0, 30, tzinfo=UTC)


def create(registry: Registry, schedule: str = "* * * * *", **spec: Any) -> None:
    job = {"spec": {"template": TEMPLATE}}
    spec = {"schedule": schedule, "jobTemplate": job, **spec}
    registry.create(CRON_JOBS, "default", {"metadata": {"name": "c"}, "spec": spec})


def at(registry: Registry, minutes: float) -> datetime | None:
    registry.clock = lambda: START + timedelta(minutes=minutes)
    return reconcile(registry)


def jobs(registry: Registry) -> list[str]:
    return [job["metadata"]["name"] for job in registry.store.all_of(JOBS)]


@pytest.mark.parametrize(
    ("schedule", "moment", "due"),
    [
        ("* * * * *", (2026, 1, 1, 3, 0), True),
        ("30 3 * * *", (2026, 1, 1, 3, 30), True),
        ("30 3 * * *", (2026, 1, 1, 4, 30), False),
        ("*/15 * * * *", (2026, 1, 1, 3, 45), True),
        ("*/15 * * * *", (2026, 1, 1, 3, 46), False),
        ("5/20 * * * *", (2026, 1, 1, 3, 45), True),
        ("1,2,10-12 * * * *", (2026, 1, 1, 3, 11), True),
        ("0 0 * * 0", (2026, 1, 4, 0, 0), True),
        ("0 0 * * 7", (2026, 1, 4, 0, 0), True),
        ("0 0 * * 1", (2026, 1, 4, 0, 0), False),
        ("0 0 13 * 5", (2026, 1, 9, 0, 0), True),
        ("0 0 13 * 5", (2026, 1, 13, 0, 0), True),
        ("0 0 13 * *", (2026, 1, 9, 0, 0), False),
        ("0 0 * 2 *", (2026, 1, 9, 0, 0), False),
    ],
)
def test_schedules(schedule: str, moment: tuple[int, ...], due: bool) -> None:
    assert is_due(parse_schedule(schedule), datetime(*moment, tzinfo=UTC)) is due


@pytest.mark.parametrize("schedule", ["", "* * * *", "60 * * * *", "* * 0 * *", "a * * * *", "5-1 * * * *"])
def test_what_is_no_schedule_is_refused(registry: Registry, schedule: str) -> None:
    with pytest.raises(ApiError, match=r"spec\.schedule"):
        create(registry, schedule)


def test_a_job_at_each_minute_that_is_due(registry: Registry) -> None:
    registry.clock = lambda: START
    create(registry, "*/2 * * * *")
    assert at(registry, 0) == START.replace(second=0) + timedelta(minutes=1)
    assert jobs(registry) == []
    at(registry, 1)
    assert jobs(registry) == []
    at(registry, 2)
    at(registry, 2.2)

    due = START.replace(second=0) + timedelta(minutes=2)
    assert jobs(registry) == [f"c-{int(due.timestamp()) // 60}"]
    status = registry.store.get(CRON_JOBS, "default", "c")["status"]
    assert [entry["name"] for entry in status["active"]] == jobs(registry)
    assert status["lastScheduleTime"] == "2026-01-01T03:02:00Z"
    assert len(registry.store.all_of(PODS)) == 1


def test_none_while_it_is_suspended(registry: Registry) -> None:
    registry.clock = lambda: START
    create(registry, suspend=True)
    at(registry, 1)
    assert jobs(registry) == []


def test_old_jobs_go(registry: Registry) -> None:
    registry.clock = lambda: START
    create(registry)
    for minute in range(1, 8):
        at(registry, minute)
        for pod in registry.store.all_of(PODS):
            registry.set_status(PODS, pod, {"phase": "Succeeded"})
        at(registry, minute + 0.2)
    assert len(jobs(registry)) == 3


def test_a_bad_template_is_refused_with_its_path(registry: Registry) -> None:
    job = {"spec": {"template": {"spec": {"containers": TEMPLATE["spec"]["containers"]}}}}
    with pytest.raises(ApiError, match=r"spec\.jobTemplate\.spec\.template\.spec\.restartPolicy"):
        create(registry, jobTemplate=job)
