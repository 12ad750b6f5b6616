"""One pod: its network, its containers, its status, its end."""

from __future__ import annotations

import asyncio
import logging
import shutil
from typing import TYPE_CHECKING

from podmirror_sandbox.cluster.events import record
from podmirror_sandbox.cluster.objects import (
    Object,
    is_deleting,
    name_of,
    namespace_of,
    parse_timestamp,
    timestamp,
    uid_of,
)
from podmirror_sandbox.cluster.phases import is_finished, pod_conditions, pod_phase
from podmirror_sandbox.cluster.resources import PODS
from podmirror_sandbox.node.container import Container

if TYPE_CHECKING:
    from podmirror_sandbox.node.host import Host
    from podmirror_sandbox.node.network import PodNetwork

logger = logging.getLogger(__name__)

_HOST_IPS = [{"ip": "10.244.0.1"}]


class PodWorker:
    """Makes one pod real, from its binding to the node until it is gone."""

    def __init__(self, host: Host, pod: Object) -> None:
        self.network: PodNetwork | None = None
        self.wakeup = asyncio.Event()
        """Set when the pod's object or one of its containers changed."""
        self._host = host
        self._pod = pod
        self._containers: dict[str, dict[str, Container]] = {"init": {}, "regular": {}, "ephemeral": {}}
        self._tasks: set[asyncio.Task[int]] = set()
        self._started_at = timestamp(host.now())

    @property
    def name(self) -> str:
        """Namespace and name, for messages."""
        return f"{namespace_of(self._pod)}/{name_of(self._pod)}"

    def container(self, name: str) -> Container | None:
        """A container of any kind that was started."""
        for group in self._containers.values():
            if name in group:
                return group[name]
        return None

    async def run(self) -> None:
        """Run the pod until it is deleted."""
        initialization: asyncio.Task[None] | None = None
        try:
            self.network = await self._host.network.attach(uid_of(self._pod))
            initialization = asyncio.create_task(self._initialize(), name=f"init {self.name}")
            grace = await self._follow()
            initialization.cancel()
            await self._terminate(grace)
        finally:
            # Also when cancelled: no task may outlive the worker that owns it.
            if initialization is not None:
                initialization.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._tear_down()
        if self._current() is not None:
            self._host.registry.store.remove(PODS, namespace_of(self._pod), name_of(self._pod))

    def _current(self) -> Object | None:
        """The pod's object, or None when it was removed (and perhaps made anew under the same name)."""
        pod = self._host.registry.store.find(PODS, namespace_of(self._pod), name_of(self._pod))
        return pod if pod is not None and uid_of(pod) == uid_of(self._pod) else None

    def _refreshed(self) -> Object:
        self._pod = self._current() or self._pod
        return self._pod

    async def _initialize(self) -> None:
        """Run the init containers one by one, then start the regular ones."""
        spec = self._pod["spec"]
        policy = "OnFailure" if spec["restartPolicy"] != "Never" else "Never"
        for entry in spec.get("initContainers") or []:
            if entry.get("restartPolicy") == "Always":
                self._start("init", entry, "Always")
                continue
            if await self._start("init", entry, policy) != 0:
                return
        for entry in spec["containers"]:
            self._start("regular", entry, spec["restartPolicy"])

    def _start(self, group: str, spec: Object, restart_policy: str) -> asyncio.Task[int]:
        assert self.network is not None
        container = Container(self._host, self._refreshed, self.network, spec, restart_policy)
        container.changed = self.wakeup.set
        self._containers[group][container.name] = container
        task = asyncio.create_task(container.run(), name=f"container {self.name}/{container.name}")
        self._tasks.add(task)
        task.add_done_callback(self._container_ended)
        return task

    def _container_ended(self, task: asyncio.Task[int]) -> None:
        self.wakeup.set()
        if not task.cancelled() and task.exception() is not None:
            logger.error("%s failed", task.get_name(), exc_info=task.exception())

    async def _follow(self) -> float:
        """Keep the pod as its object wants it; returns the grace period when it is to be ended."""
        while True:
            self.wakeup.clear()
            pod = self._current()
            if pod is None:
                return 0
            self._pod = pod
            if is_deleting(pod):
                return float(pod["metadata"]["deletionGracePeriodSeconds"])
            if not is_finished(pod):
                for entry in pod["spec"].get("ephemeralContainers") or []:
                    if entry["name"] not in self._containers["ephemeral"]:
                        self._start("ephemeral", entry, "Never")
            self._publish(pod)
            if is_finished(self._refreshed()):
                # Nothing restarts in a finished pod, and what still runs beside it, an agent, is ended with it.
                await self._stop_all(float(pod["spec"]["terminationGracePeriodSeconds"]))
            await self.wakeup.wait()

    def _publish(self, pod: Object) -> None:
        """Write the status that follows from the containers."""
        assert self.network is not None
        spec, old = pod["spec"], pod["status"]
        init = self._statuses("init", spec.get("initContainers") or [], "PodInitializing")
        waiting = "PodInitializing" if init else "ContainerCreating"
        regular = self._statuses("regular", spec["containers"], waiting)
        ephemeral = self._statuses("ephemeral", spec.get("ephemeralContainers") or [], "ContainerCreating")
        # A native sidecar counts as initialized once it runs, and does not hold the pod open.
        sidecars = {entry["name"] for entry in spec.get("initContainers") or [] if "restartPolicy" in entry}
        one_shot = [status for status in init if status["name"] not in sidecars]
        phase = old["phase"] if is_finished(pod) else pod_phase(spec["restartPolicy"], one_shot, regular)
        conditions = pod_conditions(phase, one_shot, regular, self._host.now(), old.get("conditions") or [])
        addresses = [{"ip": self.network.ipv4}]
        if self.network.ipv6:
            addresses.append({"ip": self.network.ipv6})
        status = {
            "phase": phase,
            "conditions": conditions,
            "hostIP": _HOST_IPS[0]["ip"],
            "hostIPs": _HOST_IPS,
            "podIP": self.network.ipv4,
            "podIPs": addresses,
            "startTime": self._started_at,
            "containerStatuses": regular,
            "qosClass": "BestEffort",
        }
        if init:
            status["initContainerStatuses"] = init
        if ephemeral:
            status["ephemeralContainerStatuses"] = ephemeral
        self._host.registry.set_status(PODS, pod, status)

    def _statuses(self, group: str, specs: list[Object], reason: str) -> list[Object]:
        """One status for each container of the spec, started or not."""
        statuses = []
        for spec in specs:
            container = self._containers[group].get(spec["name"])
            if container is not None:
                statuses.append(container.status)
                continue
            statuses.append(
                {
                    "name": spec["name"],
                    "image": spec["image"],
                    "imageID": "",
                    "ready": False,
                    "started": False,
                    "restartCount": 0,
                    "state": {"waiting": {"reason": reason}},
                    "lastState": {},
                }
            )
        return statuses

    async def _stop_all(self, grace: float) -> None:
        groups = self._containers.values()
        running = [entry for group in groups for entry in group.values() if entry.is_running]
        await asyncio.gather(*(container.stop(grace) for container in running))

    async def _terminate(self, grace: float) -> None:
        """End the containers; at once when the object is removed or the grace shortened meanwhile."""
        for group in self._containers.values():
            for container in group.values():
                if container.is_running:
                    message = f"Stopping container {container.name}"
                    record(self._host.registry, self._pod, "Killing", message)
        stopping = asyncio.create_task(self._stop_all(grace), name=f"stop {self.name}")
        stopping.add_done_callback(lambda _: self.wakeup.set())
        deadline = self._deadline(self._pod)
        while not stopping.done():
            self.wakeup.clear()
            pod = self._current()
            if pod is None or self._deadline(pod) < deadline:
                for group in self._containers.values():
                    for container in group.values():
                        container.kill()
            if pod is not None:
                self._publish(pod)
            await self.wakeup.wait()
        await stopping
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        pod = self._current()
        if pod is not None:
            self._publish(pod)

    def _deadline(self, pod: Object) -> float:
        deadline = pod["metadata"].get("deletionTimestamp")
        return parse_timestamp(deadline).timestamp() if deadline else 0.0

    async def _tear_down(self) -> None:
        if self.network is not None:
            await self._host.network.detach(self.network)
            self.network = None
        shutil.rmtree(self._host.data / "pods" / uid_of(self._pod), ignore_errors=True)
