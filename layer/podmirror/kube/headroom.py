"""How much memory an agent may take in a pod whose memory is limited. No I/O.

An ephemeral container has no limit of its own, but its memory is charged to the pod. The pod's limit is the sum of its
containers', if each of them has one, and cannot be seen from inside the container.
"""

from collections.abc import Sequence

from podmirror.errors import NotStarted

MEBIBYTE = 1 << 20

BASE_MEBIBYTES = 46
"""What the agent takes besides its buffers: Python and the code (resident set, measured)."""

DEFAULT_MEBIBYTES = 64
"""For the agent's buffers where nothing limits them; its own default."""

LEAST_MEBIBYTES = 4
"""For the agent's buffers: a handful of connections of which each waits with a window of 256 KiB."""

SHARE = 2
"""The agent takes at most one part in so many of the pod's limit: what is left is for what the limit was set for."""


def pod_limit(pod: int | None, containers: Sequence[int | None]) -> int | None:
    """Give the memory limit of a pod in bytes; None if it has none.

    Args:
        pod: The limit that stands in the pod's own resources (Kubernetes 1.34 on), if any.
        containers: The limits of its containers and sidecars.
    """
    if pod is not None:
        return pod
    if not containers or None in containers:
        return None
    return sum(each for each in containers if each is not None)


def agent_budget(limit: int | None) -> int:
    """Give the MiB that the agent's buffers may take.

    Args:
        limit: Of the pod's memory, in bytes; None if it has none.

    Raises:
        NotStarted: There is no room for an agent.
    """
    if limit is None:
        return DEFAULT_MEBIBYTES
    room = limit // MEBIBYTE // SHARE - BASE_MEBIBYTES
    if room < LEAST_MEBIBYTES:
        least = SHARE * (BASE_MEBIBYTES + LEAST_MEBIBYTES)
        raise NotStarted(
            f"has no room for an agent: its memory limit is {limit // MEBIBYTE} MiB in all, of which an agent takes "
            f"{BASE_MEBIBYTES + LEAST_MEBIBYTES} MiB, and no more than half; raise the limit to {least} MiB, choose another "
            "pod, or name the MiB for its buffers with --agent-memory"
        )
    return min(room, DEFAULT_MEBIBYTES)
