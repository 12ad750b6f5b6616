"""A cluster for the scenarios, and what they put into it.

Without KUBECONFIG a sandbox is started. With it, the images must be on the cluster's nodes, or where they can be pulled from:

    PODMIRROR_E2E_AGENT_IMAGE   the agent's image (default: podmirror-agent:VERSION)
    PODMIRROR_E2E_OLD_AGENT_IMAGE   an agent's image of another version
    PODMIRROR_E2E_STATIC_PODS   the folder of the node's static pods, where this machine is the node
    PODMIRROR_E2E_CA            /path/ca, of ca.crt and ca.key, where the cluster signs no client certificates
    PODMIRROR_E2E_APP_IMAGE     any image with python3 (default: python:3.13-slim; in the sandbox: the host's own Python)

Where a scenario restarts the API server, the cluster's administrator says how, or it is left out:

    PODMIRROR_E2E_RESTART_APISERVER   a shell command that stops it, starts it again some seconds later, and returns then
"""

import json
import os
import subprocess
import sys
import textwrap
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from podmirror_wire.version import __version__

AGENT_IMAGE = os.environ.get("PODMIRROR_E2E_AGENT_IMAGE", f"podmirror-agent:{__version__}")
START_SECONDS = 60.0

RETURN_SECONDS = 150.0
"""For a cluster to run pods again: each of its controllers comes back to an API server that was restarted in its own time, some
a minute after the others."""

APP = """
    import hashlib, http.server, json, socket

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = hashlib.sha256(body).hexdigest().encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments):
            pass

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 128

    server = Server(("", 8080), Handler)
    print("the app listens", flush=True)
    server.serve_forever()
"""
"""Answers a POST with the SHA-256 of its body."""

CLIENT = """
    import http.client, hashlib, json, os, random, sys, time

    host, count, pause, seed = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    chosen = random.Random(seed)
    failed = 0
    connection = None
    for number in range(count):
        body = chosen.randbytes(chosen.randrange(0, 50_000))
        try:
            if connection is None:
                connection = http.client.HTTPConnection(host, 8080, timeout=10)
            connection.request("POST", f"/{number}", body)
            answer = connection.getresponse().read().decode()
            failed += answer != hashlib.sha256(body).hexdigest()
            if number % 3 == 2:
                connection.close()
                connection = None
        except OSError:
            failed += 1
            connection = None
        time.sleep(pause)
    if connection is not None:
        connection.close()
    print(json.dumps({"sent": count, "failed": failed}), flush=True)
"""
"""Posts random bodies, three on each connection, and prints how many were not answered as they should."""

LOCAL = """
    import hashlib, http.server, sys

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sys.stdout.write(f"{self.path} {hashlib.sha256(body).hexdigest()}\\n")  # one write, or threads mix their lines
            sys.stdout.flush()
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 128

    Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
"""The local process: prints the path and the SHA-256 of each body."""


def code(program: str) -> str:
    """Give a program as `python -c` takes it."""
    return textwrap.dedent(program)


LISTENS = "the app listens"
"""What the apps here say when they do: the sandbox acts on no readiness probes."""


@dataclass(frozen=True)
class E2ECluster:
    """A cluster, a namespace of the test run's own in it, and the image for its pods."""

    core: client.CoreV1Api
    apps: client.AppsV1Api
    namespace: str
    app_image: str
    kubeconfig: str
    is_sandbox: bool

    def deploy(self, name: str, program: str, *, replicas: int = 1) -> None:
        """Run a program as a deployment, and wait until all of it is ready."""
        labels = {"app": name}
        spec = {"containers": [self.container(name, program)], "terminationGracePeriodSeconds": 1}
        self.apps.create_namespaced_deployment(
            self.namespace,
            {
                "metadata": {"name": name, "labels": labels},
                "spec": {
                    "replicas": replicas,
                    "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": spec},
                },
            },
        )
        until(lambda: len(self.ready_pods(name)) == replicas, f"deployment {name} is ready")

    def run_pod(self, name: str, program: str, *arguments: str, grace: int = 1) -> None:
        """Run a program once, as a pod."""
        self.core.create_namespaced_pod(
            self.namespace,
            {
                "metadata": {"name": name},
                "spec": {
                    "containers": [self.container(name, program, *arguments)],
                    "restartPolicy": "Never",
                    "terminationGracePeriodSeconds": grace,
                },
            },
        )

    def ready_pods(self, app: str) -> list[Any]:
        """Give the pods of a workload that are ready, and whose app listens."""
        pods = self.core.list_namespaced_pod(self.namespace, label_selector=f"app={app}").items
        return [
            pod
            for pod in pods
            if pod.metadata.deletion_timestamp is None
            and any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions or [])
            and self.listens(pod)
        ]

    def listens(self, pod: Any) -> bool:
        """Tell whether all apps of a pod listen that say when they do."""
        for each in pod.spec.containers:
            if any(LISTENS in word for word in each.command or []):
                try:
                    log = self.core.read_namespaced_pod_log(
                        pod.metadata.name, self.namespace, container=each.name
                    )
                except ApiException:  # it has not begun
                    return False
                if LISTENS not in log:
                    return False
        return True

    def until_listening(self, name: str) -> None:
        """Wait until the app of a pod listens."""
        until(
            lambda: (
                self.phase(name) == "Running"
                and self.listens(self.core.read_namespaced_pod(name, self.namespace))
            ),
            f"the app of pod {name} listens",
        )

    def phase(self, pod: str) -> str:
        """Give the phase of a pod."""
        return str(self.core.read_namespaced_pod(pod, self.namespace).status.phase)

    def log(self, pod: str) -> str:
        """Give the log of a pod."""
        return str(self.core.read_namespaced_pod_log(pod, self.namespace))

    def agents(self, pod: str) -> list[Any]:
        """Give the statuses of the agents in a pod."""
        return self.core.read_namespaced_pod(pod, self.namespace).status.ephemeral_container_statuses or []

    def command(self, *arguments: str) -> list[str]:
        """Give a command line of podmirror against this cluster."""
        return [sys.executable, "-m", "podmirror", *arguments]

    def session_arguments(self, target: str) -> list[str]:
        """Give the options that name a target in this cluster, and the agent's image."""
        return ["-t", target, "-n", self.namespace, "--agent-image", AGENT_IMAGE, "--progress", "plain"]

    def environment(self) -> dict[str, str]:
        """Give the environment for podmirror."""
        return {**os.environ, "KUBECONFIG": self.kubeconfig}

    def restart_apiserver(self) -> None:
        """Stop the API server for some seconds."""
        command = os.environ.get("PODMIRROR_E2E_RESTART_APISERVER")
        if command:
            subprocess.run(command, shell=True, check=True)
            return
        if not self.is_sandbox:
            pytest.skip("PODMIRROR_E2E_RESTART_APISERVER does not say how")
        settings = self.core.api_client.configuration
        request = urllib.request.Request(f"{settings.host}/sandbox/restart?seconds=3", method="POST")
        urllib.request.urlopen(request).close()

    def container(self, name: str, program: str, *arguments: str) -> dict[str, object]:
        """Give a container that runs a program."""
        return {
            "name": name,
            "image": self.app_image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["python3", "-c", code(program), *arguments],
        }


@contextmanager
def cluster() -> Iterator[E2ECluster]:
    """Give the cluster that KUBECONFIG names, or a sandbox, with a fresh namespace."""
    named = os.environ.get("KUBECONFIG")
    if named:
        with _namespace(
            named, os.environ.get("PODMIRROR_E2E_APP_IMAGE", "python:3.13-slim"), is_sandbox=False
        ) as made:
            yield made
        return
    with _sandbox() as kubeconfig, _namespace(kubeconfig, "sandbox/host", is_sandbox=True) as made:
        yield made


@contextmanager
def _sandbox() -> Iterator[str]:
    sandbox = subprocess.Popen(
        [sys.executable, "-m", "podmirror_sandbox", "up", "--exit-with-stdin"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with sandbox:
        assert sandbox.stdout is not None
        assert sandbox.stdin is not None
        yield json.loads(sandbox.stdout.readline())["kubeconfig"]
        sandbox.stdin.close()


@contextmanager
def _namespace(kubeconfig: str, app_image: str, *, is_sandbox: bool) -> Iterator[E2ECluster]:
    api_client = config.new_client_from_config(kubeconfig)
    core = client.CoreV1Api(api_client)
    namespace = f"podmirror-e2e-{uuid.uuid4().hex[:8]}"
    core.create_namespace({"metadata": {"name": namespace}})
    try:
        made = E2ECluster(core, client.AppsV1Api(api_client), namespace, app_image, kubeconfig, is_sandbox)
        until(lambda: _has_service_account(core, namespace), "the namespace has its service account")
        yield made
    finally:
        core.delete_namespace(namespace, grace_period_seconds=0)
        api_client.close()


def _has_service_account(core: client.CoreV1Api, namespace: str) -> bool:
    try:
        core.read_namespaced_service_account("default", namespace)
    except ApiException as error:
        if error.status == 404:
            return False
        raise
    return True


def until(condition: Callable[[], object], what: str, *, seconds: float = START_SECONDS) -> None:
    """Wait for a condition of the cluster, which tells nobody when it comes true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.1)
