"""Where an agent is to be: in the target's pod, or beside it on its node."""

from dataclasses import dataclass
from enum import StrEnum


class AgentKind(StrEnum):
    """What an agent is."""

    AUTO = "auto"
    """Whatever is admitted, the least first."""
    EPHEMERAL = "ephemeral"
    """An ephemeral container of the target's pod."""
    JOB = "job"
    """A Job's pod on the target's node, which enters the target's network namespace."""


@dataclass(frozen=True, slots=True)
class Placement:
    """What the user asked for."""

    kind: AgentKind = AgentKind.AUTO
    agent_namespace: str | None = None
    """Of a Job; the target's own if None."""
    privileged: bool = False
    """Make a Job's container privileged, for nodes whose AppArmor or SELinux keeps it out of the target's namespace."""
    host_network: bool = False
    """Admit a target that shares its node's network."""
