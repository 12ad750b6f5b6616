"""An agent that was put somewhere: until it runs, into the conversation with it, and what became of it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Never

from podmirror.errors import AgentLost, NotStarted
from podmirror.firstend import first_end
from podmirror.kube.cluster import Cluster, Refusal
from podmirror.kube.ephemeral import (
    AgentSpec,
    AgentState,
    Phase,
    state_by_event,
    state_of,
)
from podmirror.kube.job import why_unplaced
from podmirror.kube.portforward import PortForward
from podmirror.link import Link
from podmirror_wire.errors import ProtocolError, VersionMismatch
from podmirror_wire.frames import ConnectionFrame

HELLO_SECONDS = 3.0
"""For whoever listens on a candidate port to greet; the app may own it and say nothing."""

POST_MORTEM_SECONDS = 0.8
"""For the kubelet's word on a lost agent; the user should hear something within two seconds."""

START_SECONDS = 60.0
EVENT_SECONDS = 0.5

LOOK_SECONDS = 1.0
"""Between two looks at a pod that is watched: a watch comes from the API server's cache, which may lag by half a minute."""

NO_TUNNEL_SECONDS = 3.0
"""For a port-forward that fails with a server error to work after all: the kubelet may be busy, or the pod about to go."""

_RETRY_SECONDS = 0.15

_PASSING = (HTTPStatus.GONE, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.GATEWAY_TIMEOUT)
"""After these a watch is begun anew: it was too old; there were too many; the server's cache lags behind what it stores ("Too
large resource version", apiserver pkg/storage/errors.go), as it does under load."""


class _NoTunnel(NotStarted):
    """A port-forward failed for a reason that may pass."""


@dataclass(frozen=True, slots=True)
class InjectedAgent:
    """An agent's container in a pod."""

    cluster: Cluster
    namespace: str
    pod: str
    """The pod that its container is in: the target, or a Job's."""
    spec: AgentSpec

    @property
    def place(self) -> str:
        """What it is in, for messages."""
        return f"pod {self.namespace}/{self.pod}"

    async def wait_until_running(self) -> None:
        """Watch the container, and look at it now and then, until it runs.

        Raises:
            NotStarted: It cannot start, has ended, or its pod is going away; with the kubelet's words.
        """
        try:
            async with asyncio.timeout(START_SECONDS):
                await first_end(
                    asyncio.create_task(self._watch_status(), name="watch the agent"),
                    asyncio.create_task(self._look_at_status(), name="look at the agent"),
                    asyncio.create_task(self._watch_events(), name="watch events"),
                )
        except TimeoutError:
            state = await self._state() or AgentState(Phase.COMING)
            raise NotStarted(
                f"the agent {self.spec.name} in {self.place} did not start within {START_SECONDS:g} s "
                f"({state.words or 'no word from the kubelet'}); see `kubectl describe pod {self.pod} "
                f"-n {self.namespace}`"
            ) from None

    async def _watch_status(self) -> None:
        while True:
            async for change, pod in self._changes():
                if self._runs_in(pod, deleted=change == "DELETED"):
                    return

    async def _look_at_status(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                pod = await self.cluster.call(self.cluster.core.read_namespaced_pod, self.pod, self.namespace)
            except (Refusal, NotStarted):  # the watch tells of what lasts
                continue
            if self._runs_in(pod):
                return

    def _runs_in(self, pod: Any, *, deleted: bool = False) -> bool:  # kubernetes has no types
        """Tell whether it runs.

        Raises:
            NotStarted: It never will.
        """
        if deleted or pod.metadata.deletion_timestamp is not None:
            if any(
                each.kind == "Job" and each.name == self.spec.name
                for each in pod.metadata.owner_references or []
            ):
                raise NotStarted(
                    f"the agent's own {self.place} is being deleted: its target went away, or somebody removed the Job"
                )
            raise NotStarted(f"{self.place} is being deleted, so no agent starts in it; choose another pod")
        unplaced = why_unplaced(pod)
        if unplaced:
            raise NotStarted(f"the agent {self.spec.name} in {self.place} cannot start: {unplaced}")
        state = state_of(pod, self.spec.name)
        self._raise_if_over(state)
        return state.phase is Phase.RUNNING

    async def _changes(self) -> AsyncIterator[tuple[str, Any]]:
        try:
            async for change in self.cluster.watch_pod(self.pod, self.namespace):
                yield change
        except Refusal as refusal:
            if refusal.status not in _PASSING:
                raise NotStarted(
                    f"cannot watch {self.place}: {refusal.message}; the agent {self.spec.name} in it ends by itself"
                ) from refusal
            await asyncio.sleep(_RETRY_SECONDS)

    async def _watch_events(self) -> Never:
        """Fail as soon as an event says so: the status of a failed start follows some ten seconds later.

        Reading events takes a permission that is good to have but not needed.
        """
        while True:
            try:
                events = await self.cluster.call(
                    self.cluster.core.list_namespaced_event,
                    self.namespace,
                    field_selector=f"involvedObject.kind=Pod,involvedObject.name={self.pod}",
                )
            except (Refusal, NotStarted):
                await asyncio.Event().wait()  # others tell when the agent runs
                continue
            for event in events.items:
                self._raise_if_over(state_by_event(event, self.spec.name))
            await asyncio.sleep(EVENT_SECONDS)

    async def connect(
        self, secret: bytes, receiver: Callable[[ConnectionFrame], None]
    ) -> tuple[Link, PortForward]:
        """Find the agent among the candidate ports, and authenticate.

        Raises:
            NotStarted: It is of another version, ended, or does not answer.
        """
        deadline = time.monotonic() + START_SECONDS
        trouble: Exception | None = None
        while time.monotonic() < deadline:
            for port in self.spec.ports:
                try:
                    return await self._greet(port, secret, receiver)
                except VersionMismatch as error:
                    raise NotStarted(
                        f"image {self.spec.image} is of another version: {error}; give --agent-image an image of this version"
                    ) from error
                except (AgentLost, ProtocolError, TimeoutError) as error:
                    trouble = error
                except _NoTunnel as error:
                    trouble = error
                    deadline = min(deadline, time.monotonic() + NO_TUNNEL_SECONDS)
                    break
            await self._raise_if_gone()
            await asyncio.sleep(_RETRY_SECONDS)
        raise NotStarted(f"the agent {self.spec.name} in {self.place} runs but does not answer: {trouble}")

    async def post_mortem(self) -> str:
        """Say what the kubelet knows of an agent that was lost; nothing if it does not answer in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(POST_MORTEM_SECONDS):
                while True:
                    state = await self._state()
                    if state is not None and state.phase is Phase.ENDED:
                        return f"the agent {self.spec.name} ended: {state.words}"
                    await asyncio.sleep(_RETRY_SECONDS)
        return ""

    async def reopen(self, lost: PortForward) -> PortForward:
        """Open another tunnel to where a lost one led.

        Raises:
            NotStarted: The API server refused, or cannot be reached.
        """
        return await self._forward(lost.port)

    async def has_ended(self) -> bool:
        """Whether the API server says that the agent has ended, or its pod; False where that cannot be learnt."""
        try:
            pod = await self.cluster.call(self.cluster.core.read_namespaced_pod, self.pod, self.namespace)
        except Refusal as refusal:
            return refusal.status == HTTPStatus.NOT_FOUND
        except NotStarted:
            return False
        return state_of(pod, self.spec.name).phase is Phase.ENDED

    async def _forward(self, port: int) -> PortForward:
        try:
            return await PortForward.open(self.cluster, self.namespace, self.pod, port)
        except Refusal as refusal:
            what = f"port-forward to {self.place} was refused: {refusal.message}"
            if refusal.status != HTTPStatus.FORBIDDEN:
                raise _NoTunnel(what) from refusal
            raise NotStarted(
                what,
                "it needs the verbs get and create on pods/portforward: `podmirror rbac` prints what to apply",
            ) from refusal

    async def _greet(
        self, port: int, secret: bytes, receiver: Callable[[ConnectionFrame], None]
    ) -> tuple[Link, PortForward]:
        stream = await self._forward(port)
        link = Link(stream, receiver)
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                await link.authenticate(secret)
        except BaseException:
            await stream.close()
            raise
        return link, stream

    async def _state(self) -> AgentState | None:
        try:
            pod = await self.cluster.call(self.cluster.core.read_namespaced_pod, self.pod, self.namespace)
        except (Refusal, NotStarted):
            return None
        return state_of(pod, self.spec.name)

    async def _raise_if_gone(self) -> None:
        """Look whether an agent that does not answer is still there.

        Raises:
            NotStarted: It has ended, or its pod is going away.
        """
        try:
            pod = await self.cluster.call(self.cluster.core.read_namespaced_pod, self.pod, self.namespace)
        except Refusal as refusal:
            if refusal.status == HTTPStatus.NOT_FOUND:
                raise NotStarted(
                    f"{self.place} is gone, and the agent with it; choose another pod"
                ) from refusal
        except NotStarted:
            return
        else:
            self._runs_in(pod)

    def _raise_if_over(self, state: AgentState) -> None:
        if state.phase is Phase.STUCK:
            raise NotStarted(
                f"the agent {self.spec.name} in {self.place} cannot start: {state.words}. It starts later, by itself, if "
                "that goes away, and ends unused; check --agent-image and --image-pull-policy"
            )
        if state.phase is Phase.ENDED:
            raise NotStarted(f"the agent {self.spec.name} in {self.place} has ended already: {state.words}")
