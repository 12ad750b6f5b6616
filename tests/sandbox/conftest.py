"""A registry with a clock that tests set, and a real sandbox that is started once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from podmirror_sandbox.cluster.bootstrap import bootstrap
from podmirror_sandbox.cluster.registry import Registry
from podmirror_sandbox.cluster.resources import PODS
from podmirror_sandbox.cluster.store import Store
from podmirror_sandbox.requirements import missing_requirements

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

Object = dict[str, Any]
START = datetime(2026, 1, 1, tzinfo=UTC)
WAIT = 20.0


class FakeClock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.moment = START

    def __call__(self) -> datetime:
        return self.moment

    def advance(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def registry(clock: FakeClock) -> Registry:
    registry = Registry(Store(), clock)
    bootstrap(registry, "node1", "10.244.0.1", "v1")
    return registry


@pytest.fixture
def set_pod_state(registry: Registry) -> Callable[..., None]:
    """Stand in for the kubelet: give a pod a phase."""

    def set_state(name: str, phase: str, *, ready: bool = False, restarts: int = 0) -> None:
        pod = registry.store.get(PODS, "default", name)
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        statuses = [{"name": "c", "restartCount": restarts, "ready": ready, "state": {}}]
        status = {"phase": phase, "conditions": conditions, "containerStatuses": statuses}
        registry.set_status(PODS, pod, status)

    return set_state


class RunningSandbox:
    """A sandbox started as another program would start it."""

    def __init__(self, *args: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "podmirror_sandbox", "up", "--exit-with-stdin", *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            _, errors = self.process.communicate()
            pytest.fail(f"the sandbox did not start: {errors.decode()}")
        self.ready = json.loads(line)
        self.kubeconfig = Path(self.ready["kubeconfig"])
        contents = json.loads(self.kubeconfig.read_text())
        self.server: str = contents["clusters"][0]["cluster"]["server"]
        self.token: str = contents["users"][0]["user"]["token"]

    def close(self) -> str:
        """End it as a parent that dies would; returns what it wrote to standard error."""
        _, errors = self.process.communicate(timeout=WAIT)
        return errors.decode()


@pytest.fixture(scope="session")
def sandbox() -> Iterator[RunningSandbox]:
    missing = missing_requirements()
    if missing:
        pytest.skip(missing[0])
    sandbox = RunningSandbox()
    yield sandbox
    errors = sandbox.close()
    assert sandbox.process.returncode == 0, errors
    assert errors == ""


class Api:
    """Requests to a sandbox, about its default namespace unless a path says otherwise."""

    def __init__(self, server: str, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.session = session

    async def call(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json", **query: str
    ) -> tuple[int, Object]:
        if not path.startswith("/"):
            path = f"/api/v1/namespaces/default/{path}"
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content_type}
        async with self.session.request(
            method, self.server + path, data=data, headers=headers, params=query
        ) as response:
            return response.status, await response.json()

    async def get(self, path: str, **query: str) -> Object:
        status, item = await self.call("GET", path, **query)
        assert status == 200, item
        return item

    async def create_pod(self, name: str, *command: str, **spec: Any) -> Object:
        container = {"name": "app", "image": "sandbox/host", "command": list(command)}
        pod = {
            "metadata": {"name": name},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 1, **spec},
        }
        status, item = await self.call("POST", "pods", pod)
        assert status == 201, item
        return item

    async def add_ephemeral(self, pod: str, **container: Any) -> tuple[int, Object]:
        patch = {"spec": {"ephemeralContainers": [container]}}
        kind = "application/strategic-merge-patch+json"
        return await self.call("PATCH", f"pods/{pod}/ephemeralcontainers", patch, kind)

    async def delete_pod(self, name: str, grace: int = 0) -> None:
        await self.call("DELETE", f"pods/{name}", gracePeriodSeconds=str(grace))

    async def log(self, pod: str, **query: str) -> str:
        url = f"{self.server}/api/v1/namespaces/default/pods/{pod}/log"
        async with self.session.get(url, params=query) as response:
            return await response.text()

    async def watch(self, path: str, **query: str) -> AsyncIterator[Object]:
        url = f"{self.server}/api/v1/namespaces/default/{path}"
        async with self.session.get(url, params={"watch": "true", **query}) as response:
            async for line in response.content:
                yield json.loads(line)

    async def until(self, path: str, done: Callable[[Object], Any]) -> Object:
        """Watch one object until it is as wanted."""
        resource, _, name = path.partition("/")
        async with asyncio.timeout(WAIT):
            stream = self.watch(resource, fieldSelector=f"metadata.name={name}")
            async with contextlib.aclosing(stream):  # type: ignore[type-var]
                async for event in stream:
                    with contextlib.suppress(KeyError, IndexError):
                        if event["type"] != "DELETED" and done(event["object"]):
                            return dict(event["object"])
        raise AssertionError("the watch ended")

    async def until_running(self, name: str) -> Object:
        return await self.until(f"pods/{name}", lambda pod: pod["status"]["phase"] == "Running")

    async def until_gone(self, path: str) -> None:
        resource, _, name = path.partition("/")
        listed = await self.get(resource, fieldSelector=f"metadata.name={name}")
        if not listed["items"]:
            return
        version = listed["metadata"]["resourceVersion"]
        async with asyncio.timeout(WAIT):
            stream = self.watch(resource, fieldSelector=f"metadata.name={name}", resourceVersion=version)
            async with contextlib.aclosing(stream):  # type: ignore[type-var]
                async for event in stream:
                    if event["type"] == "DELETED":
                        return


@pytest.fixture
async def api(sandbox: RunningSandbox) -> AsyncIterator[Api]:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield Api(sandbox.server, session)
    # Closed transports say goodbye to the loop in its next rounds; it must not be closed before.
    await asyncio.sleep(0.01)


@pytest.fixture
def start_sandbox() -> Iterator[Callable[..., RunningSandbox]]:
    """Start sandboxes of a test's own, and make sure that they end."""
    missing = missing_requirements()
    if missing:
        pytest.skip(missing[0])
    started: list[RunningSandbox] = []

    def start(*args: str) -> RunningSandbox:
        started.append(RunningSandbox(*args))
        return started[-1]

    yield start
    for sandbox in started:
        sandbox.process.kill()
        sandbox.process.communicate()


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


def descendants(pid: int) -> list[int]:
    """All processes below one, as the host sees them, nearest first."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                text = (entry / "stat").read_text()
                parents[int(entry.name)] = int(text.rpartition(")")[2].split()[1])
    found, layer = [], [pid]
    while layer:
        layer = [child for child, parent in parents.items() if parent in layer]
        found += layer
    return found
