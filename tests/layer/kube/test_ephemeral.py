"""What is asked of the API server, and what its status means."""

import dataclasses

import pytest
from kubernetes.client import (
    V1ContainerState,
    V1ContainerStateRunning,
    V1ContainerStateTerminated,
    V1ContainerStateWaiting,
)

from podmirror.kube.ephemeral import (
    FATAL_EVENTS,
    FATAL_WAITING,
    AgentSpec,
    AgentState,
    Phase,
    ephemeral_count,
    patch,
    state_by_event,
    state_of,
)
from tests.layer.kube.pods import AGENT, event, pod

SPEC = AgentSpec(
    name=AGENT,
    image="podmirror-agent:1.2.3",
    image_pull_policy=None,
    ports=(61001, 62002),
    verifier=bytes(range(32)),
    ttl=30.0,
    log_level="info",
)


def test_the_whole_patch():
    assert patch(SPEC, add_capabilities=True) == {
        "spec": {
            "ephemeralContainers": [
                {
                    "name": "podmirror-0123abcd",
                    "image": "podmirror-agent:1.2.3",
                    "args": [
                        "--ports",
                        "61001,62002",
                        "--verifier",
                        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
                        "-t",
                        "30",
                        "--log-level",
                        "info",
                    ],
                    "securityContext": {
                        "runAsUser": 0,
                        "runAsNonRoot": False,
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"], "add": ["NET_RAW"]},
                    },
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                }
            ]
        }
    }


def test_a_cpu_budget_is_an_argument_of_the_agent():
    container = patch(dataclasses.replace(SPEC, cpu=0.05), add_capabilities=True)["spec"][
        "ephemeralContainers"
    ][0]

    assert container["args"][-2:] == ["--cpu", "0.05"]


def test_the_pid_namespace_of_a_container_is_joined_only_if_it_is_named():
    whole = patch(SPEC, add_capabilities=True)
    whole["spec"]["ephemeralContainers"][0]["targetContainerName"] = "app"

    assert patch(dataclasses.replace(SPEC, beside="app"), add_capabilities=True) == whole


def test_without_added_capabilities_nothing_else_changes():
    whole = patch(SPEC, add_capabilities=True)
    del whole["spec"]["ephemeralContainers"][0]["securityContext"]["capabilities"]

    assert patch(SPEC, add_capabilities=False) == whole


def test_a_pull_policy_is_asked_for_only_if_it_was_given():
    (container,) = patch(dataclasses.replace(SPEC, image_pull_policy="Never"), add_capabilities=True)["spec"][
        "ephemeralContainers"
    ]

    assert container["imagePullPolicy"] == "Never"


@pytest.mark.parametrize(
    ("ttl", "text"), [(1.0, "1"), (0.5, "0.5"), (86400.0, "86400"), (1234567.0, "1234567")]
)
def test_the_ttl_is_written_exactly(ttl, text):
    (container,) = patch(dataclasses.replace(SPEC, ttl=ttl), add_capabilities=True)["spec"][
        "ephemeralContainers"
    ]

    assert float(container["args"][5]) == float(text)


def waiting(reason: str | None, message: str | None = None) -> V1ContainerState:
    return V1ContainerState(waiting=V1ContainerStateWaiting(reason=reason, message=message))


def terminated(code: int, message: str | None, reason: str | None = "Error") -> V1ContainerState:
    return V1ContainerState(
        terminated=V1ContainerStateTerminated(exit_code=code, message=message, reason=reason)
    )


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (None, AgentState(Phase.COMING, "not seen by the kubelet yet")),
        (V1ContainerState(running=V1ContainerStateRunning()), AgentState(Phase.RUNNING)),
        (V1ContainerState(), AgentState(Phase.COMING)),
        (waiting(None), AgentState(Phase.COMING)),
        (waiting("ContainerCreating"), AgentState(Phase.COMING, "ContainerCreating")),
        (
            waiting("ErrImageNeverPull", "image is not present"),
            AgentState(Phase.STUCK, "ErrImageNeverPull: image is not present"),
        ),
        (waiting("ImagePullBackOff"), AgentState(Phase.STUCK, "ImagePullBackOff: no message")),
        (
            terminated(1, '{"reason": "no NET_RAW", "hint": "x"}\n'),
            AgentState(Phase.ENDED, "no NET_RAW (exit code 1)"),
        ),
        (
            terminated(1, "Traceback\nModuleNotFoundError: scapy\n"),
            AgentState(Phase.ENDED, "ModuleNotFoundError: scapy (exit code 1)"),
        ),
        (
            terminated(137, None, "OOMKilled"),
            AgentState(Phase.ENDED, "killed by SIGKILL, OOMKilled (exit code 137)"),
        ),
        (
            terminated(143, "the log's last line", None),
            AgentState(Phase.ENDED, "killed by SIGTERM, no reason was given (exit code 143)"),
        ),
        (
            terminated(255, "the log's last line"),
            AgentState(Phase.ENDED, "the log's last line (exit code 255)"),
        ),
        (terminated(0, "  \n", None), AgentState(Phase.ENDED, "no reason was given (exit code 0)")),
        (terminated(1, '{"hint": "x"}'), AgentState(Phase.ENDED, '{"hint": "x"} (exit code 1)')),
        (terminated(1, "[1]"), AgentState(Phase.ENDED, "[1] (exit code 1)")),
        (terminated(1, "42"), AgentState(Phase.ENDED, "42 (exit code 1)")),
    ],
)
def test_states(state, expected):
    assert state_of(pod(agent_state=state), AGENT) == expected


@pytest.mark.parametrize("reason", sorted(FATAL_WAITING))
def test_reasons_that_do_not_go_away(reason):
    assert state_of(pod(agent_state=waiting(reason, "why")), AGENT) == AgentState(
        Phase.STUCK, f"{reason}: why"
    )


def test_the_state_is_that_of_the_agent_that_was_asked_for():
    running = pod(agent_state=V1ContainerState(running=V1ContainerStateRunning()))

    assert state_of(running, "podmirror-another").phase is Phase.COMING


@pytest.mark.parametrize("reason", sorted(FATAL_EVENTS))
def test_events_that_say_that_it_cannot_start(reason):
    assert state_by_event(event(reason, "no such image"), AGENT) == AgentState(Phase.STUCK, "no such image")
    assert state_by_event(event(reason, None), AGENT) == AgentState(Phase.STUCK, reason)


@pytest.mark.parametrize(
    "other",
    [
        event("Pulling", "pulling", kind="Normal"),
        event("Failed", "normal", kind="Normal"),
        event("BackOff", "wait"),
        event("Failed", "of another", name="podmirror-another"),
        event("Failed", "of a longer name", name=AGENT + "0"),
    ],
)
def test_other_events_say_nothing(other):
    assert state_by_event(other, AGENT) == AgentState(Phase.COMING)


@pytest.mark.parametrize(
    ("agents", "count"),
    [((), 0), (("debugger-1",), 0), (("podmirror-a", "debugger-1", "podmirror-b"), 2)],
)
def test_the_agents_in_a_pod_are_counted(agents, count):
    assert ephemeral_count(pod(agents=agents)) == count
