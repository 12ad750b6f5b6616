"""When an agent's pod came how far, as the API server tells it: watched, with this machine's clock."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any, Self

from podmirror.compare.spread import Figure, Unknown
from podmirror.errors import NotStarted
from podmirror.kube.cluster import Cluster, Refusal
from podmirror.kube.ephemeral import Phase, state_of


class Timeline:
    """Watches for the pod and the container of one agent, from before its injection on."""

    def __init__(self, cluster: Cluster, namespace: str, agent: str, pod: str | None) -> None:
        """Set what to watch.

        Args:
            cluster: Where.
            namespace: Of the agent's pod.
            agent: The name of its container, and of its Job.
            pod: The target, for an agent in it; None for a Job's.
        """
        self._cluster = cluster
        self._namespace = namespace
        self._agent = agent
        self._pod = pod
        self._tasks: list[asyncio.Task[None]] = []
        self._unread = "no event told of the image"
        self.moments: dict[str, float] = {}
        """Monotonic seconds."""
        self.pod: Any = None
        """As last seen with the agent in it."""

    async def __aenter__(self) -> Self:
        """Begin to watch: for the pod until the agent runs, and for events until one tells of the image."""
        self._tasks = [
            asyncio.create_task(self._watch_pod(), name="watch pod"),
            asyncio.create_task(self._watch_events(), name="watch events"),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def catch_up(self, seconds: float) -> None:
        """Wait a little for the watches to end: they may tell late."""
        await asyncio.wait(self._tasks, timeout=seconds)

    @property
    def pulled(self) -> Figure:
        """When the image was there."""
        return self.moments.get("pulled", Unknown(self._unread))

    def _note(self, what: str) -> None:
        self.moments.setdefault(what, time.monotonic())

    async def _watch_pod(self) -> None:
        if self._pod is not None:
            selector = {"field_selector": f"metadata.name={self._pod}"}
        else:
            selector = {"label_selector": f"batch.kubernetes.io/job-name={self._agent}"}
        with suppress(Refusal, NotStarted):
            async with aclosing(self._cluster.watch_pods(self._namespace, **selector)) as changes:
                async for _, pod in changes:
                    self._receive_pod(pod)
                    if "started" in self.moments:
                        return

    def _receive_pod(self, pod: Any) -> None:  # kubernetes has no types
        names = [each.name for each in (*pod.spec.containers, *(pod.spec.ephemeral_containers or []))]
        if self._agent not in names:
            return
        self.pod = pod
        if any(each.type == "PodScheduled" and each.status == "True" for each in pod.status.conditions or []):
            self._note("scheduled")
        if state_of(pod, self._agent).phase is Phase.RUNNING:
            self._note("started")

    async def _watch_events(self) -> None:
        try:
            async with aclosing(self._events()) as events:
                async for _ in events:
                    self._note("pulled")
                    return
        except Refusal as refusal:
            self._unread = f"events may not be watched: {refusal.message}"
        except NotStarted as error:
            self._unread = str(error)

    def _events(self) -> AsyncGenerator[tuple[str, Any]]:
        """Give the events of the agent's image alone: a namespace may have thousands, which come before any new one."""
        containers = "containers" if self._pod is None else "ephemeralContainers"
        path = f"spec.{containers}{{{self._agent}}}"
        return self._cluster.watch_events(
            self._namespace, field_selector=f"reason=Pulled,involvedObject.fieldPath={path}"
        )
