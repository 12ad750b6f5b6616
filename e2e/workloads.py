"""Workloads of each kind, whose pods run a program."""

from typing import Any

from kubernetes import utils

from e2e.cluster import APP, RETURN_SECONDS, E2ECluster, code, until

API_VERSIONS = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "ReplicaSet": "apps/v1",
    "Job": "batch/v1",
    "CronJob": "batch/v1",
    "Service": "v1",
    "Pod": "v1",
}
PROBE = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}

MORTAL = APP.replace(
    "def do_POST(self):",
    """def do_DELETE(self):
            import os
            os._exit(0 if self.path == "/" else 1)

        def do_POST(self):""",
)
"""The app that ends when it is told to: well at DELETE /, else badly."""

END = """
    import http.client, sys

    try:
        connection = http.client.HTTPConnection(sys.argv[1], 8080, timeout=10)
        connection.request("DELETE", sys.argv[2])
        connection.getresponse()
    except OSError:
        pass
"""


def end_app(k8s: E2ECluster, name: str, host: str, path: str = "/") -> None:
    """Let a pod tell a mortal app to end."""
    k8s.run_pod(name, END, host, path)
    until(lambda: k8s.phase(name) == "Succeeded", f"{name} is done")


def container(k8s: E2ECluster, program: str, name: str = "app", **more: object) -> dict[str, object]:
    return {
        "name": name,
        "image": k8s.app_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", code(program)],
        **more,
    }


def template(name: str, *containers: dict[str, object], **spec: object) -> dict[str, Any]:
    return {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": list(containers), "terminationGracePeriodSeconds": 1, **spec},
    }


def create(k8s: E2ECluster, kind: str, name: str, spec: dict[str, object], **metadata: object) -> Any:
    """Create an object of a kind that Kubernetes itself knows."""
    manifest = {
        "apiVersion": API_VERSIONS[kind],
        "kind": kind,
        "metadata": {"name": name, **metadata},
        "spec": spec,
    }
    return utils.create_from_dict(k8s.core.api_client, manifest, namespace=k8s.namespace)[0]


def replicated(
    k8s: E2ECluster,
    kind: str,
    name: str,
    program: str,
    *,
    replicas: int | None = 1,
    **container_fields: object,
) -> None:
    """Run a program in a workload of equal pods, and wait until they serve."""
    spec = {
        "selector": {"matchLabels": {"app": name}},
        "template": template(name, container(k8s, program, readinessProbe=PROBE, **container_fields)),
    }
    if replicas is not None:
        spec["replicas"] = replicas
    if kind == "StatefulSet":
        spec["serviceName"] = name
    create(k8s, kind, name, spec)
    wanted = replicas or 1
    until(lambda: len(k8s.ready_pods(name)) == wanted, f"{kind} {name} is ready", seconds=RETURN_SECONDS)


def restart(k8s: E2ECluster, kind: str, name: str, *, now: str = "now") -> None:
    """Do what `kubectl rollout restart` does."""
    annotations = {"kubectl.kubernetes.io/restartedAt": now}
    patch = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
    method = {
        "Deployment": k8s.apps.patch_namespaced_deployment,
        "StatefulSet": k8s.apps.patch_namespaced_stateful_set,
        "DaemonSet": k8s.apps.patch_namespaced_daemon_set,
    }[kind]
    method(name, k8s.namespace, patch)
