"""Where a target's pods are, now and from now on, and how to put an agent beside one of them."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any

from podmirror.errors import NotStarted
from podmirror.kube.cluster import Cluster, Refusal, in_daemon_thread
from podmirror.kube.resolve import fit_pods, is_ready, look_up, place_in, unfitness
from podmirror.kube.workloads import Workload, find_workload, sent_elsewhere
from podmirror.progress import Progress
from podmirror.roster import PodView, Roster
from podmirror.session import Session, SessionOptions, open_session
from podmirror.target import Kind
from podmirror_wire.frames import ConnectionFrame

SETTLE_SECONDS = 0.1
"""After a change, for those that come with it: one look then sees them all.

At least, and as long as the look before took: that of a thousand pods takes most of a second of CPU time, and while they are
all being replaced one look after the other would take the core that the connections need.
"""

LOOK_SECONDS = 30.0
"""Between two looks without a change: what a watch does not tell, such as a service's new selector, is seen then."""

RETRY_SECONDS = 1.0
"""Before a watch that ended or failed is begun again."""


class Following:
    """A target in its cluster."""

    def __init__(self, cluster: Cluster, options: SessionOptions) -> None:
        self._cluster = cluster
        self._options = options
        self._target = options.target
        self.namespace = cluster.namespace
        self._watched = ""
        self._workload: Workload | None = None
        self._guessed: set[str | None] = set()
        """Containers that were guessed, which is said once and not of every pod."""

    @classmethod
    async def start(cls, options: SessionOptions) -> "Following":
        """Connect to the cluster.

        Raises:
            NotStarted: There is no usable configuration.
        """
        # A credential plugin may run, and ask the user something.
        cluster = await in_daemon_thread(lambda: Cluster.connect(options.context, options.namespace))
        return cls(cluster, options)

    async def first_pods(self) -> list[PodView]:
        """Give the pods to begin with, the best first: those that are ready, by name, or if none is, one that runs.

        Raises:
            NotStarted: There is no such target, or no pod of it is fit.
        """
        workload = await look_up(self._cluster, self._target)
        self._remember(workload)
        fit = [_view(pod) for pod in fit_pods(self._cluster, self._target, workload)]
        return [pod for pod in fit if pod.ready] or fit[:1]

    def about_port(self, port: int) -> str:
        """Say what is to be said of a port that was asked for; mostly nothing."""
        elsewhere = sent_elsewhere(self._workload, port) if self._workload is not None else None
        if elsewhere is None:
            return ""
        named = isinstance(elsewhere, str)
        goes_to = (
            f"the port that its pods would name {elsewhere}, and do not"
            if named
            else f"port {elsewhere} of its pods"
        )
        step = "name the pods' own" if named else f"give -p {elsewhere}"
        return f"port {port} is one of {self._target}, which sends it to {goes_to}: what -p names is the pods'; {step}"

    async def look(self) -> Roster:
        """Give the pods as they are.

        Raises:
            NotStarted: The API server could not be asked, or does not say.
        """
        try:
            workload = await find_workload(self._cluster, self._target)
        except Refusal as refusal:
            if refusal.status == HTTPStatus.NOT_FOUND:
                return Roster((), ended=f"{self._target} is gone ({refusal.message})")
            raise NotStarted(f"cannot look up {self._target}: {refusal.message}") from refusal
        self._remember(workload)
        return Roster(tuple(map(_view, workload.pods)), workload.selection.ended)

    async def rosters(self) -> AsyncGenerator[Roster]:
        """Give the pods as they are, now and whenever something about them has changed."""
        changed = asyncio.Event()
        watched, watching = self._watched, asyncio.create_task(self._watch(changed), name="watch the target")
        try:
            while True:
                began = time.monotonic()
                with suppress(NotStarted):
                    yield await self.look()
                took = time.monotonic() - began
                if watched != self._watched:
                    watching.cancel()
                    watched, watching = self._watched, asyncio.create_task(self._watch(changed))
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await changed.wait()
                await asyncio.sleep(max(SETTLE_SECONDS, took))
                changed.clear()
        finally:
            watching.cancel()

    @asynccontextmanager
    async def open(
        self,
        pod: PodView,
        options: SessionOptions,
        progress: Progress,
        receiver: Callable[[ConnectionFrame], None],
    ) -> AsyncIterator[Session]:
        """Start an agent beside one of the pods; see `open_session`."""
        place = await place_in(
            self._cluster, self._target, pod.found, host_network=options.allow_host_network
        )
        if place.note and place.container not in self._guessed:
            self._guessed.add(place.container)
            progress.note(place.note)
        async with open_session(self._cluster, place, options, progress, receiver) as session:
            yield session

    async def _watch(self, changed: asyncio.Event) -> None:
        """Take notice of every change; a watch that ends or fails is begun anew, and what happened meanwhile is a change."""
        selector = (
            {"field_selector": f"metadata.name={self._target.name}"}
            if self._target.kind is Kind.POD
            else {"label_selector": self._watched}
        )
        while True:
            with suppress(Refusal, NotStarted):
                async with aclosing(self._cluster.watch_pods(self._cluster.namespace, **selector)) as changes:
                    async for _ in changes:
                        changed.set()
            await asyncio.sleep(RETRY_SECONDS)
            changed.set()

    def _remember(self, workload: Workload) -> None:
        self._workload = workload
        self._watched = workload.selection.watched or workload.selection.labels


def _view(pod: Any) -> PodView:  # kubernetes has no types
    unfit = unfitness(pod)
    leaving = pod.metadata.deletion_timestamp is not None or pod.status.phase in ("Succeeded", "Failed")
    created = pod.metadata.creation_timestamp
    return PodView(
        pod.metadata.name,
        pod.metadata.uid or pod.metadata.name,
        created.timestamp() if created else 0.0,
        is_ready(pod),
        leaving=unfit if leaving else "",
        unfit=unfit,
        found=pod,
    )
