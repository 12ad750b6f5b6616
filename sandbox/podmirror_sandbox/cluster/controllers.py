"""All controllers, in the order in which one's work becomes the next one's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podmirror_sandbox.cluster.accounts import reconcile_service_accounts
from podmirror_sandbox.cluster.cronjobs import reconcile_cron_jobs
from podmirror_sandbox.cluster.deployments import reconcile_deployments, reconcile_replica_sets
from podmirror_sandbox.cluster.garbage import collect_garbage
from podmirror_sandbox.cluster.jobs import reconcile_jobs
from podmirror_sandbox.cluster.scheduling import reconcile_scheduling
from podmirror_sandbox.cluster.services import reconcile_services
from podmirror_sandbox.cluster.statefulsets import reconcile_daemon_sets, reconcile_stateful_sets

if TYPE_CHECKING:
    from datetime import datetime

    from podmirror_sandbox.cluster.registry import Registry

_MOST_PASSES = 20
"""Each pass only does what the one before made necessary: a chain longer than this is two controllers in dispute."""


def reconcile(registry: Registry) -> datetime | None:
    """Run the controllers until they have nothing more to do.

    Returns:
        When to run them again although nothing changed, or None.
    """
    wakeup = None
    for _ in range(_MOST_PASSES):
        before = registry.store.revision
        collect_garbage(registry)
        reconcile_service_accounts(registry)
        reconcile_deployments(registry)
        reconcile_replica_sets(registry)
        reconcile_stateful_sets(registry)
        reconcile_daemon_sets(registry)
        wakeups = (reconcile_cron_jobs(registry), reconcile_jobs(registry))
        wakeup = min((each for each in wakeups if each is not None), default=None)
        reconcile_scheduling(registry)
        reconcile_services(registry)
        if registry.store.revision == before:
            break
    return wakeup
