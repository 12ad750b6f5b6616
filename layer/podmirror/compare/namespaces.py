"""Whether agent and target share namespaces: they do if both have the same inode number. No I/O."""

from collections.abc import Mapping

KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")

UNSEEN = "the target's processes do not show to an agent in its pod, and no Job's agent saw them for it"


def sharing(kind: str, agent: Mapping[str, str], target: Mapping[str, str]) -> str:
    """Say whether they share a kind of namespace, with the numbers; or why that is not known."""
    own, other = agent.get(kind, "- not told"), target.get(kind, f"- {UNSEEN}")
    if own.startswith("-"):
        return f"unknown: the agent's own could not be read ({own[2:]})"
    if other.startswith("-"):
        return f"unknown: {other[2:]} (the agent's is {own})"
    return f"shared ({own})" if own == other else f"apart ({own}, target {other})"


def shared(kind: str, agent: Mapping[str, str], target: Mapping[str, str]) -> bool | None:
    """Whether they share it; None if that is not known."""
    own, other = agent.get(kind, "-"), target.get(kind, "-")
    return None if "-" in (own[:1], other[:1]) else own == other
