"""Giving credit back to the agent, in steps so coarse that it costs next to nothing."""

WINDOW_BYTES = 256 * 1024
"""Credit that a connection starts with at the agent (docs/protocol.md, option `window`)."""

STEP_BYTES = WINDOW_BYTES // 4
"""What is owed at most. A request that is sought holds back another quarter (`boundary.MAX_HEAD_BYTES`), so that half of the
window is always in use, and no connection stalls because its credit is here."""


class Credit:
    """The credit of one connection."""

    def __init__(self) -> None:
        self._owed = 0

    def take(self, size: int) -> int:
        """Take so many bytes as consumed, and give the credit that is due by now, 0 for none."""
        self._owed += size
        if self._owed < STEP_BYTES:
            return 0
        due, self._owed = self._owed, 0
        return due
