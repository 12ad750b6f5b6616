"""The pods of a target as a fleet takes them: which there are, how they are, and a session with an agent beside one."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from podmirror.fleet import PodState
from podmirror.kube.cluster import Cluster, in_daemon_thread
from podmirror.kube.resolve import admit, first_fit, is_ready, unfitness
from podmirror.kube.workload import Workload
from podmirror.members import PodRef
from podmirror.progress import Progress
from podmirror.session import Session, SessionOptions, open_session
from podmirror_wire.frames import ConnectionFrame


class TargetPods:
    """The pods of the target that a session's options name."""

    def __init__(self, options: SessionOptions) -> None:
        self._options = options
        self._cluster: Cluster | None = None
        self._workload: Workload | None = None
        self._known: dict[PodRef, Any] = {}

    @property
    def follows(self) -> bool:
        """Whether others may take their place."""
        return self._workload is not None and self._workload.can_change

    async def first(self, progress: Progress) -> list[PodRef]:
        """Connect to the cluster and look the target up; then give its pods that are ready, sorted by name.

        If none is ready, it is one that runs.

        Raises:
            NotStarted: There is no such target, or none of its pods is fit.
        """
        options = self._options
        with progress.step(f"resolving {options.target}") as step:
            # A credential plugin may run, and ask the user something.
            cluster = await in_daemon_thread(lambda: Cluster.connect(options.context, options.namespace))
            self._cluster = cluster
            self._workload = await Workload.find(cluster, options.target)
            pods = await self._workload.pods()
            best = first_fit(cluster, options.target, pods)
            self._known = {_ref(pod): pod for pod in pods}
            ready = sorted(ref for ref, pod in self._known.items() if state_of(pod) is PodState.READY)
            ready = ready or [_ref(best)]
            others = f", and {len(ready) - 1} more" if options.all_pods and len(ready) > 1 else ""
            step.done = f"resolved {options.target}: pod {cluster.namespace}/{ready[0].name}{others}"
        return ready

    async def changes(self) -> AsyncIterator[dict[PodRef, PodState]]:
        """Give the pods that are there, whenever something about them has changed."""
        assert self._workload is not None, "first comes before changes"
        async for known in self._workload.changes():
            self._known = {_ref(pod): pod for pod in known.values()}
            yield {ref: state_of(pod) for ref, pod in self._known.items()}

    def session(
        self, pod: PodRef, progress: Progress, receiver: Callable[[ConnectionFrame], None]
    ) -> AbstractAsyncContextManager[Session]:
        """Start an agent beside a pod, and talk to it for as long as the block lasts."""
        return self._session(pod, progress, receiver)

    @asynccontextmanager
    async def _session(
        self, pod: PodRef, progress: Progress, receiver: Callable[[ConnectionFrame], None]
    ) -> AsyncIterator[Session]:
        assert self._cluster is not None, "first comes before session"
        options, cluster = self._options, self._cluster
        host_network = options.allow_host_network
        target = await admit(cluster, options.target, self._known[pod], host_network=host_network)
        async with open_session(cluster, target, options, progress, receiver) as session:
            yield session


def _ref(pod: Any) -> PodRef:  # kubernetes has no types
    return PodRef(pod.metadata.name, pod.metadata.uid, pod.metadata.creation_timestamp.timestamp())


def state_of(pod: Any) -> PodState:  # kubernetes has no types
    """Tell how a pod is."""
    if pod.metadata.deletion_timestamp is not None or pod.status.phase in ("Succeeded", "Failed"):
        return PodState.GOING
    return PodState.READY if is_ready(pod) and not unfitness(pod) else PodState.UNREADY
