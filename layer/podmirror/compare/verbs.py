"""What a user must be allowed to do for a mode, in short. No I/O."""

from podmirror.compare.figures import Mode
from podmirror.kube.permissions import AgentMode, needed


def verbs_for(mode: Mode, namespace: str, agent_namespace: str | None, kind: str) -> tuple[str, ...]:
    """Give each rule as `pods: get list watch`."""
    agent_mode = AgentMode.JOB if mode is Mode.JOB else AgentMode.EPHEMERAL
    roles = needed(agent_mode, namespace, agent_namespace, kind)
    return tuple(
        f"{', '.join(rule.resources)}: {' '.join(rule.verbs)}"
        + (" (optional)" if rule.optional else "")
        + (f" in {role.namespace}" if len(roles) > 1 else "")
        for role in roles
        for rule in role.rules
    )
