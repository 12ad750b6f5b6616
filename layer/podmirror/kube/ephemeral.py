"""The agent as an ephemeral container: what is asked of the API server, and what its status means. No I/O.

`targetContainerName` is not set on purpose, but where `compare` shows what it does. The pod's containers share one network
namespace anyway, so capture does not need it; it would put the agent into the PID namespace of that container, where the kernel
kills it whenever the app's first process ends (pid_namespaces(7)), never to be started again, and would show it the app's
environment.
"""

import json
import signal
from dataclasses import dataclass
from enum import Enum
from typing import Any

NAME_PREFIX = "podmirror-"
KILLED = 128
"""Exit codes above it are that of a process killed by the signal of the rest."""

FATAL_WAITING = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
"""Waiting reasons that do not go away by waiting (kubernetes pkg/kubelet/images/types.go and
pkg/kubelet/kuberuntime/kuberuntime_container.go)."""


FATAL_EVENTS = frozenset({"Failed", "ErrImageNeverPull", "InspectFailed"})
"""Reasons of the events that go with them: a failed pull, creation or start, a missing image, one that cannot be read
(kubernetes pkg/kubelet/events/event.go)."""


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """What an agent is started with."""

    name: str
    """Of the container, unique in the pod, finished ephemeral containers included."""
    image: str
    image_pull_policy: str | None
    ports: tuple[int, ...]
    """Candidates for its listener."""
    verifier: bytes
    """SHA-256 of the session's secret."""
    ttl: float
    """Seconds that it waits for a layer."""
    log_level: str
    cpu: float | None = None
    """Cores that it may use on average; None for no limit."""
    memory: int | None = None
    """MiB for its buffers; None for the agent's own default."""
    beside: str | None = None
    """Container whose PID namespace an ephemeral agent joins, for comparisons; None for one of its own."""


def arguments(spec: AgentSpec) -> list[str]:
    """Give the agent's command line, wherever it runs."""
    return [
        *("--ports", ",".join(map(str, spec.ports))),
        *("--verifier", spec.verifier.hex()),
        *("-t", f"{spec.ttl:.15g}"),
        *("--log-level", spec.log_level),
        *(("--cpu", f"{spec.cpu:.15g}") if spec.cpu is not None else ()),
        *(("--memory", str(spec.memory)) if spec.memory is not None else ()),
    ]


def patch(spec: AgentSpec, *, add_capabilities: bool) -> dict[str, object]:
    """Give the strategic-merge patch that appends the agent to a pod's ephemeral containers.

    Args:
        spec: The agent.
        add_capabilities: Ask for NET_RAW and nothing else. Where Pod Security forbids to add it, the agent can do with the
            runtime's default set instead, which holds NET_RAW on containerd.
    """
    security: dict[str, object] = {
        # The pod may say otherwise, and then added capabilities would not be effective: Kubernetes has no ambient ones.
        "runAsUser": 0,
        "runAsNonRoot": False,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
    }
    if add_capabilities:
        security["capabilities"] = {"drop": ["ALL"], "add": ["NET_RAW"]}
    container: dict[str, object] = {
        "name": spec.name,
        "image": spec.image,
        "args": arguments(spec),
        "securityContext": security,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if spec.image_pull_policy is not None:
        container["imagePullPolicy"] = spec.image_pull_policy
    if spec.beside is not None:
        container["targetContainerName"] = spec.beside
    return {"spec": {"ephemeralContainers": [container]}}


class Phase(Enum):
    """How far an agent's container has come."""

    COMING = "coming"
    RUNNING = "running"
    STUCK = "stuck"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class AgentState:
    """The state of an agent's container, with the kubelet's own words."""

    phase: Phase
    words: str = ""


def state_of(pod: Any, name: str) -> AgentState:  # kubernetes has no types
    """Read the state of the agent `name` from a pod's status."""
    statuses = [*(pod.status.ephemeral_container_statuses or []), *(pod.status.container_statuses or [])]
    state = next((each.state for each in statuses if each.name == name), None)
    if state is None:
        return AgentState(Phase.COMING, "not seen by the kubelet yet")
    if state.running is not None:
        return AgentState(Phase.RUNNING)
    if state.terminated is not None:
        return AgentState(Phase.ENDED, _last_words(state.terminated))
    waiting = state.waiting
    if waiting is not None and waiting.reason in FATAL_WAITING:
        return AgentState(Phase.STUCK, f"{waiting.reason}: {waiting.message or 'no message'}")
    return AgentState(Phase.COMING, waiting.reason if waiting is not None and waiting.reason else "")


def state_by_event(event: Any, name: str) -> AgentState:
    """Read from an event of the pod what it says of the agent `name`, if it says that it cannot start."""
    places = (f"spec.ephemeralContainers{{{name}}}", f"spec.containers{{{name}}}")
    if (
        event.involved_object.field_path in places
        and event.type == "Warning"
        and event.reason in FATAL_EVENTS
    ):
        return AgentState(Phase.STUCK, event.message or event.reason)
    return AgentState(Phase.COMING)


def ephemeral_count(pod: Any) -> int:  # kubernetes has no types
    """Count the agents of ours that the pod's spec holds, finished ones included; only a new pod clears them."""
    return sum(each.name.startswith(NAME_PREFIX) for each in pod.spec.ephemeral_containers or [])


def _last_words(terminated: Any) -> str:  # kubernetes has no types
    message = (terminated.message or "").strip()
    code = terminated.exit_code
    try:
        reason = str(json.loads(message)["reason"])
    except (
        ValueError,
        KeyError,
        TypeError,
    ):  # not the agent's own JSON: the runtime's words, or the log's tail
        if code > KILLED and code - KILLED in set(signal.Signals):
            reason = f"killed by {signal.Signals(code - KILLED).name}, {terminated.reason or 'no reason was given'}"
        else:
            reason = message.splitlines()[-1] if message else terminated.reason or "no reason was given"
    return f"{reason} (exit code {code})"
