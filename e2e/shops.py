"""Namespaces that forbid something, each with a pod in it that is as harmless as pods can be."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from e2e.cluster import APP, E2ECluster, code, until

ENFORCE = "pod-security.kubernetes.io/enforce"

HARMLESS = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
UNPRIVILEGED = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
RESOURCES = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}}


@contextmanager
def shop(
    k8s: E2ECluster, name: str, *, level: str | None = None, quota: dict[str, str] | None = None
) -> Iterator[E2ECluster]:
    """Make a namespace with a pod `app` that answers, and give the cluster as seen from it."""
    namespace = f"{k8s.namespace}-{name}"
    labels = {ENFORCE: level} if level is not None else {}
    k8s.core.create_namespace({"metadata": {"name": namespace, "labels": labels}})
    made = replace(k8s, namespace=namespace)
    try:
        until(lambda: has_account(made), "the namespace has its service account")
        if quota is not None:
            k8s.core.create_namespaced_resource_quota(
                namespace, {"metadata": {"name": "tight"}, "spec": {"hard": quota}}
            )
            if not k8s.is_sandbox:
                until(lambda: is_counted(made), "the quota is counted")
        k8s.core.create_namespaced_pod(namespace, harmless_pod(k8s.app_image))
        made.until_listening("app")
        yield made
    finally:
        k8s.core.delete_namespace(namespace, grace_period_seconds=0)


@contextmanager
def enforced(k8s: E2ECluster, level: str) -> Iterator[None]:
    """Enforce a level of Pod Security in the tests' namespace, `baseline` or `restricted`."""
    _enforce(k8s, level)
    try:
        yield
    finally:
        _enforce(k8s, None)


def _enforce(k8s: E2ECluster, level: str | None) -> None:
    k8s.core.patch_namespace(k8s.namespace, {"metadata": {"labels": {ENFORCE: level}}})
    # What admits pods hears of it a little later.
    until(lambda: _admits_privileges(k8s) is (level is None), "Pod Security follows the label")


def _admits_privileges(k8s: E2ECluster) -> bool:
    pod = harmless_pod(k8s.app_image)
    pod["metadata"] = {"name": "never-made"}
    pod["spec"] = {**pod["spec"], "hostNetwork": True}  # type: ignore[dict-item]
    try:
        k8s.core.create_namespaced_pod(k8s.namespace, pod, dry_run="All")
    except ApiException as error:
        if error.status == 403:
            return False
        raise
    return True


def harmless_pod(image: str) -> dict[str, object]:
    """Give a pod that every level of Pod Security takes."""
    container = {
        "name": "app",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", code(APP)],
        "securityContext": HARMLESS,
        "resources": RESOURCES,
    }
    spec = {"containers": [container], "securityContext": UNPRIVILEGED, "terminationGracePeriodSeconds": 1}
    return {"metadata": {"name": "app"}, "spec": spec}


def has_account(k8s: E2ECluster) -> bool:
    accounts = k8s.core.list_namespaced_service_account(k8s.namespace).items
    return any(account.metadata.name == "default" for account in accounts)


def is_counted(k8s: E2ECluster) -> bool:
    """Whether the quota's status is there: until then it refuses everything, in words of its own."""
    return bool(k8s.core.read_namespaced_resource_quota("tight", k8s.namespace).status.hard)


def jobs(k8s: E2ECluster) -> list[str]:
    """Give the names of a namespace's agents that are Jobs; other scenarios have Jobs, too."""
    batch = client.BatchV1Api(k8s.core.api_client)
    names = [job.metadata.name for job in batch.list_namespaced_job(k8s.namespace).items]
    return [name for name in names if name.startswith("podmirror-")]


def pod_is_gone(k8s: E2ECluster, name: str) -> bool:
    """Tell whether there is no such pod any more."""
    try:
        k8s.core.read_namespaced_pod(name, k8s.namespace)
    except ApiException as error:
        if error.status == 404:
            return True
        raise
    return False
