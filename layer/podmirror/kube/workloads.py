"""From a target to the pods that belong to it: the pod itself, or those that the named object selects."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from podmirror.errors import NotStarted
from podmirror.kube.cluster import Cluster, Refusal
from podmirror.kube.containers import staying, target_port
from podmirror.target import Kind, Target

_JOB_LABEL = "controller-uid"
"""On every pod of a Job, its uid (kubernetes pkg/controller/job). The name with a prefix is younger than 1.27."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which pods are meant."""

    labels: str = ""
    """As a label selector."""
    watched: str = ""
    """A label selector that those will also match which come later; empty for the same."""
    ended: str = ""
    """Why no more of them will come; empty while some may."""
    ports: tuple[Any, ...] = ()
    """Of a Service, its own."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A target's pods, as they are now."""

    pods: list[Any]
    selection: Selection


def sent_elsewhere(workload: Workload, port: int) -> int | str | None:
    """Give the pods' port that a Service sends its port of this number to; None if it is theirs as well, or no port of it."""
    targets = {each.port: target_port(each, workload.pods) for each in workload.selection.ports}
    declared = {
        each.container_port for pod in workload.pods for one in staying(pod.spec) for each in one.ports or []
    }
    return None if port in declared or port in targets.values() else targets.get(port)


async def find_workload(cluster: Cluster, target: Target) -> Workload:
    """Find the target's pods, whatever their state.

    Raises:
        Refusal: The API server answered with an error.
        NotStarted: The object has no pods by its nature, or the API server could not be reached.
    """
    if target.kind is Kind.POD:
        pod = await cluster.call(cluster.core.read_namespaced_pod, target.name, cluster.namespace)
        return Workload([pod], Selection())
    selection = await _SELECTORS[target.kind](cluster, target)
    pods = await cluster.call(
        cluster.core.list_namespaced_pod, cluster.namespace, label_selector=selection.labels
    )
    return Workload(list(pods.items), selection)


async def _of_deployment(cluster: Cluster, target: Target) -> Selection:
    found = await cluster.call(cluster.apps.read_namespaced_deployment, target.name, cluster.namespace)
    return Selection(selector_text(found.spec.selector))


async def _of_stateful_set(cluster: Cluster, target: Target) -> Selection:
    found = await cluster.call(cluster.apps.read_namespaced_stateful_set, target.name, cluster.namespace)
    return Selection(selector_text(found.spec.selector))


async def _of_daemon_set(cluster: Cluster, target: Target) -> Selection:
    found = await cluster.call(cluster.apps.read_namespaced_daemon_set, target.name, cluster.namespace)
    return Selection(selector_text(found.spec.selector))


async def _of_replica_set(cluster: Cluster, target: Target) -> Selection:
    found = await cluster.call(cluster.apps.read_namespaced_replica_set, target.name, cluster.namespace)
    return Selection(selector_text(found.spec.selector))


async def _of_job(cluster: Cluster, target: Target) -> Selection:
    found = await cluster.call(cluster.batch.read_namespaced_job, target.name, cluster.namespace)
    how = _end_of(found)
    return Selection(selector_text(found.spec.selector), ended=f"{target} {how}" if how else "")


async def _of_cron_job(cluster: Cluster, target: Target) -> Selection:
    """Select the pods of the Jobs that run, or else of the youngest."""
    cron_job, jobs = await asyncio.gather(
        cluster.call(cluster.batch.read_namespaced_cron_job, target.name, cluster.namespace),
        cluster.call(cluster.batch.list_namespaced_job, cluster.namespace),
    )
    owned = [job for job in jobs.items if _is_owned(job, cron_job.metadata.uid)]
    if not owned:
        raise NotStarted(
            f"cronjob {target.name!r} in namespace {cluster.namespace!r} has no Jobs (its schedule is "
            f"{cron_job.spec.schedule!r}); `kubectl create job --from=cronjob/{target.name} NAME -n {cluster.namespace}` "
            "makes one now"
        )
    youngest = max(owned, key=lambda job: job.metadata.creation_timestamp)
    meant = [job for job in owned if not _end_of(job)] or [youngest]
    uids = ",".join(sorted(job.metadata.uid for job in meant))
    return Selection(f"{_JOB_LABEL} in ({uids})", watched=_JOB_LABEL)


async def _of_service(cluster: Cluster, target: Target) -> Selection:
    found = await cluster.call(cluster.core.read_namespaced_service, target.name, cluster.namespace)
    what = f"service {target.name!r} in namespace {cluster.namespace!r}"
    if found.spec.type == "ExternalName":
        raise NotStarted(
            f"{what} is an ExternalName: it stands for {found.spec.external_name}, which is no pod; name a pod or a workload"
        )
    if not found.spec.selector:
        raise NotStarted(
            f"{what} has no selector, so no pods are its own, and its endpoints were made by hand or by somebody else; "
            "name their workload"
        )
    return Selection(_equalities(found.spec.selector.items()), ports=tuple(found.spec.ports or ()))


async def _of_rollout(cluster: Cluster, target: Target) -> Selection:
    """Select the pods of an Argo Rollout, which may leave the template and so the selector to a Deployment."""
    try:
        found: Any = await cluster.call(
            cluster.custom.get_namespaced_custom_object,
            "argoproj.io",
            "v1alpha1",
            cluster.namespace,
            "rollouts",
            target.name,
        )
    except Refusal as refusal:
        if refusal.status != HTTPStatus.NOT_FOUND or f'"{target.name}"' in refusal.message:
            raise
        raise NotStarted(
            f"this cluster does not know the resource rollouts.argoproj.io ({refusal.message}), so there is no {target}; "
            "Argo Rollouts is not installed: name another kind of workload, such as deployment/NAME"
        ) from refusal
    selector = found.get("spec", {}).get("selector") or {}
    text = _terms(selector.get("matchLabels"), selector.get("matchExpressions"))
    text = text or found.get("status", {}).get("selector", "")
    if not text:
        raise NotStarted(
            f"rollout {target.name!r} in namespace {cluster.namespace!r} has no selector yet, neither in its spec nor, by "
            "Argo's controller, in its status; see that the controller runs, or name its pods by label/KEY=VALUE"
        )
    return Selection(text)


async def _of_labels(_: Cluster, target: Target) -> Selection:
    return Selection(target.name)


_SELECTORS: dict[Kind, Callable[[Cluster, Target], Awaitable[Selection]]] = {
    Kind.DEPLOYMENT: _of_deployment,
    Kind.STATEFUL_SET: _of_stateful_set,
    Kind.DAEMON_SET: _of_daemon_set,
    Kind.REPLICA_SET: _of_replica_set,
    Kind.JOB: _of_job,
    Kind.CRON_JOB: _of_cron_job,
    Kind.SERVICE: _of_service,
    Kind.ROLLOUT: _of_rollout,
    Kind.LABEL: _of_labels,
}


def selector_text(selector: Any) -> str:  # kubernetes has no types
    """Write a LabelSelector as list calls take it (apimachinery pkg/apis/meta/v1/helpers.go, LabelSelectorAsSelector)."""
    expressions = [
        {"key": each.key, "operator": each.operator, "values": each.values}
        for each in selector.match_expressions or []
    ]
    return _terms(selector.match_labels, expressions)


def _terms(labels: dict[str, str] | None, expressions: list[dict[str, Any]] | None) -> str:
    terms = [_equalities((labels or {}).items())] if labels else []
    for each in expressions or []:
        key, values = each["key"], f"({','.join(each.get('values') or [])})"
        terms.append(
            {
                "In": f"{key} in {values}",
                "NotIn": f"{key} notin {values}",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }[each["operator"]]
        )
    return ",".join(terms)


def _equalities(labels: Iterable[tuple[str, str]]) -> str:
    return ",".join(f"{key}={value}" for key, value in labels)


def _end_of(job: Any) -> str:  # kubernetes has no types
    """Say how a Job ended; nothing if it has not."""
    for condition in job.status.conditions or []:
        if condition.status == "True" and condition.type in ("Complete", "Failed"):
            return "has completed" if condition.type == "Complete" else f"has failed: {condition.message}"
    return ""


def _is_owned(job: Any, uid: str) -> bool:  # kubernetes has no types
    return any(each.uid == uid for each in job.metadata.owner_references or [])
