"""What of a screened connection waits until its exchange is judged, or until it is clear what of it is secret."""

from typing import TYPE_CHECKING

from podmirror_wire.values import Direction

if TYPE_CHECKING:
    from podmirror_http.bodyredaction import Passed
    from podmirror_wire.frames import Ended, Gap, Omitted


class Verdict:
    """Whether an exchange is wanted; None while that is open."""

    __slots__ = ("wanted",)

    def __init__(self, *, wanted: bool | None) -> None:
        self.wanted = wanted


class Pending:
    """Bytes that wait, or a frame behind them."""

    __slots__ = ("direction", "frame", "missing", "offset", "parts", "pod_time", "verdict")

    def __init__(self, direction: Direction, offset: int, pod_time: int, verdict: Verdict) -> None:
        self.direction = direction
        self.offset = offset
        self.pod_time = pod_time
        self.verdict = verdict
        self.parts: Passed = []
        """Bytes as they may go on, and numbers of those that may not."""
        self.missing = 0
        """Bytes behind those parts that are not decided."""
        self.frame: Gap | Ended | Omitted | None = None
