"""The kubelet: one worker for each pod that is bound to this node."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from podmirror_sandbox.cluster.events import record
from podmirror_sandbox.cluster.objects import is_deleting, name_of, namespace_of, uid_of
from podmirror_sandbox.cluster.phases import is_finished
from podmirror_sandbox.cluster.resources import PODS
from podmirror_sandbox.node.host import NODE_NAME, Host
from podmirror_sandbox.node.pod import PodWorker
from podmirror_sandbox.node.processes import CommandFailed

if TYPE_CHECKING:
    from podmirror_sandbox.cluster.objects import Object
    from podmirror_sandbox.node.container import Container
    from podmirror_sandbox.node.network import PodNetwork

logger = logging.getLogger(__name__)


class Kubelet:
    """Starts workers for new pods and tells each of changes to its own."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._workers: dict[str, PodWorker] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def network_of(self, pod: Object) -> PodNetwork | None:
        """Where a pod's network namespace is, once it has one."""
        worker = self._workers.get(uid_of(pod))
        return worker.network if worker else None

    def container(self, pod: Object, name: str) -> Container | None:
        """A container that was started."""
        worker = self._workers.get(uid_of(pod))
        return worker.container(name) if worker else None

    async def run(self) -> None:
        """Follow the store for ever."""
        store = self._host.registry.store
        changed = asyncio.Event()
        unsubscribe = store.subscribe(changed.set)
        seen = 0
        try:
            while True:
                for change in store.changes_since(seen):
                    seen = change.revision
                    if change.resource is PODS:
                        self._notice(change.item, change.kind)
                await changed.wait()
                changed.clear()
        finally:
            unsubscribe()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _notice(self, pod: Object, kind: str) -> None:
        worker = self._workers.get(uid_of(pod))
        if worker is not None:
            worker.wakeup.set()
            return
        mine = pod["spec"].get("nodeName") == NODE_NAME
        if kind == "DELETED" or not mine or is_finished(pod):
            return
        # The change may be an old one: what counts is what is there now.
        current = self._host.registry.store.find(PODS, namespace_of(pod), name_of(pod))
        if current is None or uid_of(current) != uid_of(pod):
            return
        if is_deleting(current):
            self._host.registry.store.remove(PODS, namespace_of(pod), name_of(pod))
            return
        worker = PodWorker(self._host, current)
        self._workers[uid_of(pod)] = worker
        task = asyncio.create_task(self._work(worker, current), name=f"pod {worker.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, worker: PodWorker, pod: Object) -> None:
        try:
            await worker.run()
        except CommandFailed as error:
            record(self._host.registry, pod, "FailedCreatePodSandBox", str(error), warning=True)
        except Exception:
            # One broken pod must not take the node with it; the log says which.
            logger.exception("pod %s failed", worker.name)
        finally:
            del self._workers[uid_of(pod)]
