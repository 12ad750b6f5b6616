"""The pods of a target at one time, and which of them should be mirrored. No I/O."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class PodView:
    """What matters of a pod here."""

    name: str
    uid: str
    """Of this pod and no other, while a StatefulSet's next pod has the name of the one before."""
    created: float
    """The cluster's clock, seconds."""
    ready: bool
    leaving: str = ""
    """Why it will not come back, as the end of a sentence about it; empty while it stays."""
    unfit: str = ""
    """Why no agent can be put beside it, in the same way."""
    found: Any = field(default=None, compare=False, repr=False)
    """What the cluster said, for whoever puts an agent there."""


@dataclass(frozen=True, slots=True)
class Roster:
    """A target's pods."""

    pods: tuple[PodView, ...]
    ended: str = ""
    """Why no more pods will come, as a sentence; empty while some may."""

    def leaving(self, pod: PodView) -> str:
        """Say why a pod that was seen before goes away; nothing if it stays."""
        now = next((each for each in self.pods if each.uid == pod.uid), None)
        if now is not None:
            return now.leaving
        return "is gone" if self.ended else "is no longer among its pods"


def newcomers(
    roster: Roster, mirrored: Collection[str], passed_over: Collection[str], most: int
) -> list[PodView]:
    """Choose the pods to be mirrored beside those that are already.

    Args:
        roster: The pods.
        mirrored: The uids of those that are mirrored already.
        passed_over: The uids of those that shall not be.
        most: How many shall be mirrored at once, not counting those that are leaving.

    Returns:
        Pods that are ready, the youngest first: in the middle of a rollout the older ones are about to go.
    """
    staying = sum(pod.uid in mirrored and not pod.leaving for pod in roster.pods)
    ready = [
        pod
        for pod in roster.pods
        if pod.ready and not pod.unfit and pod.uid not in mirrored and pod.uid not in passed_over
    ]
    ready.sort(key=lambda pod: (-pod.created, pod.name))
    return ready[: max(0, most - staying)]
