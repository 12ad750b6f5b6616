"""The one byte budget that all of the agent's buffers share.

The agent's memory is charged to the pod, so an agent that balloons could get the app killed. Whoever wants to keep bytes takes
them from here first, and gives up something of its own when it is refused.
"""

from typing import Protocol

OVERHEAD_BYTES = 256
"""What a queued object costs besides its payload, rounded up: CPython's headers and the entry in its container. Without it a
flood of one-byte payloads would take a hundred times its budget."""


class Keeper(Protocol):
    """Who keeps bytes until somebody takes them, who may be slow."""

    @property
    def most_kept(self) -> int:
        """Of what is given up at a time, the bytes of the largest."""

    def give_up_most(self) -> None:
        """Give that up."""


class Budget:
    """Counts the bytes that are held, up to a limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self.keepers: list[Keeper] = []

    def take(self, size: int) -> bool:
        """Reserve `size` bytes; False, and nothing reserved, if that would go over the limit."""
        if self.held + size > self.limit:
            return False
        self.held += size
        return True

    def reclaim(self) -> bool:
        """Have that be given up of which most is kept for somebody slow; False if there is none."""
        keeper = max(self.keepers, key=lambda each: each.most_kept, default=None)
        if keeper is None or not keeper.most_kept:
            return False
        keeper.give_up_most()
        return True

    def give(self, size: int) -> None:
        """Return `size` bytes that were taken."""
        self.held -= size
        assert self.held >= 0, "more was given back than was taken"
