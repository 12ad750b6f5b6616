"""Which permissions each way of starting an agent takes, and no more. No I/O.

The same list is what `rbac` prints and what `doctor` asks the API server about, so that neither can promise what the other does
not know of.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum


class AgentMode(Enum):
    """How an agent is started."""

    EPHEMERAL = "ephemeral"
    JOB = "job"


@dataclass(frozen=True, slots=True)
class Access:
    """One verb on one resource, as an access review asks about it."""

    namespace: str
    group: str
    resource: str
    """Plural; a subresource behind a slash, as in a Role."""
    verb: str
    optional: bool = False

    @property
    def object(self) -> str:
        """What it is on, as the API server calls it: `pods/portforward`, `jobs.batch`."""
        name, slash, subresource = self.resource.partition("/")
        return f"{name}{'.' if self.group else ''}{self.group}{slash}{subresource}"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of a Role, with what needs it."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    why: str
    optional: bool = False
    """Nothing is refused without it."""


@dataclass(frozen=True, slots=True)
class RoleRules:
    """The rules that are needed in one namespace."""

    namespace: str
    rules: tuple[Rule, ...]

    def accesses(self) -> Iterator[Access]:
        """Give each verb on each resource."""
        for rule in self.rules:
            for resource in rule.resources:
                for verb in rule.verbs:
                    yield Access(self.namespace, rule.group, resource, verb, rule.optional)


_PODS = Rule(
    "", ("pods",), ("get", "list", "watch"), "to find and follow pods, and see an agent start and end"
)
_PORT_FORWARD = Rule(
    "",
    ("pods/portforward",),
    ("get", "create"),
    "the tunnel: its WebSocket is a GET, and servers from 1.35 on ask for create, too",
)
_EPHEMERAL = Rule("", ("pods/ephemeralcontainers",), ("patch",), "to add the agent to the pod")
_EVENTS = Rule(
    "", ("events",), ("list",), "optional: to be told at once why an agent cannot start", optional=True
)
_JOBS = Rule("batch", ("jobs",), ("create", "get", "delete"), "the agent")
_JOB_EVENTS = Rule(
    "",
    ("events",),
    ("list",),
    "optional: to be told why the Job has no pod, which is said in its events and nowhere else",
    optional=True,
)

_LOOKUPS: dict[str, tuple[Rule, ...]] = {
    "pod": (),
    "label": (),
    "deployment": (Rule("apps", ("deployments",), ("get",), "targets deployment/NAME"),),
    "statefulset": (Rule("apps", ("statefulsets",), ("get",), "targets statefulset/NAME"),),
    "daemonset": (Rule("apps", ("daemonsets",), ("get",), "targets daemonset/NAME"),),
    "replicaset": (Rule("apps", ("replicasets",), ("get",), "targets replicaset/NAME"),),
    "job": (Rule("batch", ("jobs",), ("get",), "targets job/NAME"),),
    "cronjob": (
        Rule("batch", ("cronjobs",), ("get",), "targets cronjob/NAME"),
        Rule("batch", ("jobs",), ("list",), "the Jobs of a CronJob"),
    ),
    "service": (Rule("", ("services",), ("get",), "targets service/NAME"),),
    "rollout": (Rule("argoproj.io", ("rollouts",), ("get",), "targets rollout/NAME"),),
}
"""What each kind of target takes besides the pods."""

_ALL_LOOKUPS = (
    Rule(
        "apps",
        ("deployments", "statefulsets", "daemonsets", "replicasets"),
        ("get",),
        "targets by their workload's name",
        optional=True,
    ),
    Rule("batch", ("jobs", "cronjobs"), ("get", "list"), "targets job/NAME and cronjob/NAME", optional=True),
    Rule("", ("services",), ("get",), "targets service/NAME", optional=True),
    Rule("argoproj.io", ("rollouts",), ("get",), "targets rollout/NAME (Argo)", optional=True),
)


def needed(
    mode: AgentMode, namespace: str, agent_namespace: str | None = None, kind: str | None = None
) -> list[RoleRules]:
    """Give the rules that a mode takes, for each namespace.

    Args:
        mode: How the agent is started.
        namespace: Of the target.
        agent_namespace: Of a Job, if it is another one.
        kind: Of the target, as on the command line; None for any.
    """
    lookups = _ALL_LOOKUPS if kind is None else _LOOKUPS[kind]
    if mode is AgentMode.EPHEMERAL:
        return [RoleRules(namespace, (_PODS, *lookups, _EPHEMERAL, _PORT_FORWARD, _EVENTS))]
    beside = (_JOBS, _PORT_FORWARD, _JOB_EVENTS)
    if agent_namespace in (None, namespace):
        return [RoleRules(namespace, (_PODS, *lookups, *beside))]
    assert agent_namespace is not None, "None is the target's own"
    return [RoleRules(namespace, (_PODS, *lookups)), RoleRules(agent_namespace, (_PODS, *beside))]
