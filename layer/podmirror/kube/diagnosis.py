"""What `doctor` finds: the trials of all ways, what stands in their way, and what to apply."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from podmirror.kube.access import whoami
from podmirror.kube.cluster import Cluster
from podmirror.kube.ephemeral import AgentSpec
from podmirror.kube.hazards import notes_of, refusal_of
from podmirror.kube.inject import candidate_ports, new_agent_name
from podmirror.kube.permissions import Access, AgentMode, needed
from podmirror.kube.preflight import Subject, Trial, pod_to_try, try_all
from podmirror.kube.rolemanifests import Subject as RoleSubject
from podmirror.kube.rolemanifests import privileged_namespace, role_manifests
from podmirror.kube.surroundings import node_of
from podmirror.target import Target
from podmirror_wire.handshake import new_secret, verifier_of

SUGGESTED_NAMESPACE = "podmirror-agents"
"""For Job agents, where the target's namespace does not admit them."""


@dataclass
class Diagnosis:
    """What was tried, and what came of it."""

    namespace: str
    agent_namespace: str
    kind: str | None
    """Of the target; None if none was named."""
    user: RoleSubject
    about: str
    trials: list[Trial]
    notes: list[str] = field(default_factory=list)

    @property
    def works(self) -> bool:
        """Whether there is a way that works."""
        return any(trial.works for trial in self.trials)

    def words(self, trial: Trial) -> list[str]:
        """Give what there is to say about a trial."""
        missing = _sentences([each for each in trial.missing if not each.optional])
        spared = [
            f"works without it, but {each}"
            for each in _sentences([each for each in trial.missing if each.optional])
        ]
        return [*missing, *trial.refusals, *trial.notes, *spared]

    def remedies(self) -> Iterator[tuple[str, str]]:
        """Give what to apply so that what does not work does, each with what it is for."""
        told: set[str] = set()
        for trial in self.trials:
            manifest = self.remedy(trial)
            if manifest and manifest not in told:
                told.add(manifest)
                yield f"for {trial.mode.value} agents, to be applied by an administrator:", manifest

    def remedy(self, trial: Trial) -> str:
        """Give what to apply so that one way works; nothing if it works, or if nothing that is known would help."""
        if trial.works:
            return ""
        if trial.mode is AgentMode.EPHEMERAL:
            missing = any(not each.optional for each in trial.missing)
            return self._roles(trial.mode, self.agent_namespace) if missing else ""
        if not trial.pod_security:
            return self._roles(trial.mode, self.agent_namespace)
        elsewhere = self.agent_namespace
        if elsewhere == self.namespace:
            elsewhere = SUGGESTED_NAMESPACE
        return privileged_namespace(elsewhere) + "---\n" + self._roles(trial.mode, elsewhere)

    def as_json(self) -> dict[str, Any]:
        """Give all of it for a machine."""
        return {
            "namespace": self.namespace,
            "agentNamespace": self.agent_namespace,
            "user": self.user.name,
            "works": self.works,
            "notes": self.notes,
            "modes": [
                {
                    "mode": trial.name,
                    "agent": trial.mode.value,
                    "works": trial.works,
                    "missing": [_access(each) for each in trial.missing],
                    "refusals": trial.refusals,
                    "notes": trial.notes,
                    "apply": self.remedy(trial),
                }
                for trial in self.trials
            ],
        }

    def _roles(self, mode: AgentMode, agent_namespace: str) -> str:
        roles = needed(mode, self.namespace, agent_namespace, self.kind)
        return role_manifests(f"podmirror-{mode.value}", roles, self.user)


def _sentences(missing: list[Access]) -> list[str]:
    """Put the verbs that are missing on one resource into one sentence."""
    verbs: dict[tuple[str, str], list[str]] = {}
    for each in missing:
        verbs.setdefault((each.object, each.namespace), []).append(each.verb)
    return [
        f"you may not {', '.join(several)} {what} in namespace {namespace!r}"
        for (what, namespace), several in verbs.items()
    ]


def _access(access: Access) -> dict[str, Any]:
    return {
        "namespace": access.namespace,
        "group": access.group,
        "resource": access.resource,
        "verb": access.verb,
        "optional": access.optional,
    }


async def diagnose(cluster: Cluster, target: Target | None, image: str, agent_namespace: str) -> Diagnosis:
    """Try all ways.

    Raises:
        NotStarted: The API server cannot be reached, or does not accept the credentials.
    """
    user = await whoami(cluster)
    pod, why = await pod_to_try(cluster, target)
    spec = AgentSpec(
        name=new_agent_name(),
        image=image,
        image_pull_policy=None,
        ports=candidate_ports(),
        verifier=verifier_of(new_secret()),
        ttl=30.0,
        log_level="info",
    )
    trials = await try_all(cluster, Subject(target, pod, spec, agent_namespace))
    notes: list[str] = []
    if pod is None:
        about = f"tried as {user.name} in namespace {cluster.namespace}"
        notes.append(why)
        if target is not None:
            for trial in trials:
                if trial.works:  # else the permission that is missing says why
                    trial.refusals.append(why)
    else:
        about = f"tried as {user.name} on pod {cluster.namespace}/{pod.metadata.name}"
        hazard = refusal_of(pod, await node_of(cluster, pod))
        if hazard:
            for trial in trials:
                trial.refusals.append(f"the pod {hazard}")
        notes += notes_of(pod)
    kind = target.kind.value if target is not None else None
    return Diagnosis(cluster.namespace, agent_namespace, kind, user, about, trials, notes)
