"""From a target to the pods that stand for it, now and later."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from http import HTTPStatus
from typing import Any, NoReturn

from podmirror.errors import NotStarted
from podmirror.kube.cluster import Cluster, Refusal
from podmirror.target import Kind, Target

_READERS = {
    Kind.DEPLOYMENT: ("apps", "read_namespaced_deployment"),
    Kind.STATEFULSET: ("apps", "read_namespaced_stateful_set"),
    Kind.DAEMONSET: ("apps", "read_namespaced_daemon_set"),
    Kind.REPLICASET: ("apps", "read_namespaced_replica_set"),
    Kind.JOB: ("batch", "read_namespaced_job"),
}
"""The client's API and method for kinds that have a LabelSelector."""

_ROLLOUTS = ("argoproj.io", "v1alpha1")

_AGAIN_SECONDS = 1.0
"""Before pods are listed and watched again, when a watch ended or broke."""


class Workload:
    """The pods of a target."""

    def __init__(self, cluster: Cluster, target: Target, selector: str | None) -> None:
        self._cluster = cluster
        self._target = target
        self._selector = selector

    @classmethod
    async def find(cls, cluster: Cluster, target: Target) -> "Workload":
        """Look a target up.

        Raises:
            NotStarted: There is none, or it may not be looked up, or it names no pods.
        """
        try:
            return cls(cluster, target, await _selector_of(cluster, target))
        except Refusal as refusal:
            _explain(cluster, target, refusal)

    @property
    def can_change(self) -> bool:
        """Whether other pods may stand for the target later: a pod stands for itself alone."""
        return self._selector is not None

    async def pods(self) -> list[Any]:  # kubernetes has no types
        """Give its pods as they are now, fit or not.

        Raises:
            NotStarted: They may not be listed.
        """
        cluster = self._cluster
        try:
            if self._selector is None:
                return [
                    await cluster.call(cluster.core.read_namespaced_pod, self._target.name, cluster.namespace)
                ]
            listed = await cluster.call(
                cluster.core.list_namespaced_pod, cluster.namespace, label_selector=self._selector
            )
        except Refusal as refusal:
            _explain(cluster, self._target, refusal)
        return list(listed.items)

    async def changes(self) -> AsyncIterator[dict[str, Any]]:
        """Give its pods by name, each time when something about them has changed; for as long as that is asked for.

        An API server that cannot be reached for a while is asked again.
        """
        assert self._selector is not None, "a pod stands for itself alone"
        while True:
            try:
                known = {pod.metadata.name: pod for pod in await self.pods()}
                yield dict(known)
                watching = self._cluster.watch_pods(self._selector, self._cluster.namespace)
                async with aclosing(watching):
                    async for change, pod in watching:
                        if change == "DELETED":
                            known.pop(pod.metadata.name, None)
                        else:
                            known[pod.metadata.name] = pod
                        yield dict(known)
            except (Refusal, NotStarted):
                pass
            await asyncio.sleep(_AGAIN_SECONDS)


async def _selector_of(cluster: Cluster, target: Target) -> str | None:
    name, namespace = target.name, cluster.namespace
    match target.kind:
        case Kind.POD:
            return None
        case Kind.LABEL:
            return name
        case Kind.SERVICE:
            service = await cluster.call(cluster.core.read_namespaced_service, name, namespace)
            if not service.spec.selector:
                raise NotStarted(
                    f"service {name!r} in namespace {namespace!r} selects no pods ("
                    f"{service.spec.type if service.spec.type == 'ExternalName' else 'it has no selector'}); "
                    "name the workload behind it"
                )
            return _equal(service.spec.selector)
        case Kind.CRONJOB:
            return await _selector_of_cronjob(cluster, name)
        case Kind.ROLLOUT:
            return await _selector_of_rollout(cluster, name)
    api, method = _READERS[target.kind]
    found = await cluster.call(getattr(getattr(cluster, api), method), name, namespace)
    return selector_text(found.spec.selector.match_labels, found.spec.selector.match_expressions)


async def _selector_of_cronjob(cluster: Cluster, name: str) -> str:
    cronjob = await cluster.call(cluster.batch.read_namespaced_cron_job, name, cluster.namespace)
    jobs = await cluster.call(cluster.batch.list_namespaced_job, cluster.namespace)
    owned = [
        job.metadata.name
        for job in jobs.items
        if any(owner.uid == cronjob.metadata.uid for owner in job.metadata.owner_references or [])
    ]
    if not owned:
        raise NotStarted(
            f"cronjob {name!r} in namespace {cluster.namespace!r} has no Job now (schedule {cronjob.spec.schedule!r}); "
            f"start one with `kubectl create job --from=cronjob/{name} -n {cluster.namespace} NAME`"
        )
    return f"batch.kubernetes.io/job-name in ({','.join(owned)})"


async def _selector_of_rollout(cluster: Cluster, name: str) -> str:
    try:
        rollout = await cluster.call(
            cluster.custom.get_namespaced_custom_object, *_ROLLOUTS, cluster.namespace, "rollouts", name
        )
    except Refusal as refusal:
        if refusal.status == HTTPStatus.NOT_FOUND and not refusal.reason:
            raise NotStarted(
                f"this cluster knows no rollouts ({'/'.join(_ROLLOUTS)}), so there is no rollout {name!r}; is Argo Rollouts "
                "installed, and is this the right context?"
            ) from refusal
        raise
    selector = rollout.get("spec", {}).get("selector")
    if not selector:
        raise NotStarted(
            f"rollout {name!r} in namespace {cluster.namespace!r} has no selector of its own; name the workload that it refers "
            "to"
        )
    return selector_text(selector.get("matchLabels"), None)


def selector_text(labels: dict[str, str] | None, expressions: list[Any] | None) -> str:
    """Write a LabelSelector as list calls take it (apimachinery pkg/apis/meta/v1/helpers.go, LabelSelectorAsSelector)."""
    terms = [_equal(labels)] if labels else []
    for each in expressions or []:
        values = f"({','.join(each.values or [])})"
        terms.append(
            {
                "In": f"{each.key} in {values}",
                "NotIn": f"{each.key} notin {values}",
                "Exists": each.key,
                "DoesNotExist": f"!{each.key}",
            }[each.operator]
        )
    return ",".join(terms)


def _equal(labels: dict[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in labels.items())


def _explain(cluster: Cluster, target: Target, refusal: Refusal) -> NoReturn:
    what = f"{target.kind.value} {target.name!r} in namespace {cluster.namespace!r}"
    if refusal.status == HTTPStatus.NOT_FOUND:
        raise NotStarted(
            f"there is no {what} ({refusal.message}); `podmirror ls --type {target.kind.value} -n {cluster.namespace}` lists "
            "what there is"
        ) from refusal
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        raise NotStarted(
            f"the API server does not accept the credentials of context {cluster.context!r}: {refusal.message}; log in again"
        ) from refusal
    raise NotStarted(
        f"cannot look up {what}: {refusal.message}; ask your cluster's administrator to apply what `podmirror rbac` prints"
    ) from refusal
