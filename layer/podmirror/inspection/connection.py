"""The record of a connection that is not HTTP/1, or no longer."""

from dataclasses import dataclass, field

from podmirror.inspection.exchange import Exchange, State
from podmirror_wire.values import CloseReason, Endpoint


@dataclass(slots=True)
class ConnectionSummary:
    """What is told of a connection whose content is not."""

    pod: str
    connection: int
    initiator: Endpoint
    responder: Endpoint
    began: int
    """Pod time of its first packet, nanoseconds since 1970."""
    protocol: str
    """What it looks like, as `TLS`; `unknown` if like nothing that we know."""
    detail: str = ""
    """More of that, as the name of the server that a TLS client asks for."""
    late: bool = False
    ended: int = 0
    """Pod time of the last that was seen of it."""
    closed_as: CloseReason | None = None
    """How the agent said that it ended; None if it was still open."""
    bytes: list[int] = field(default_factory=lambda: [0, 0])
    """Of each direction, by the number of the direction; those that were not sent included."""
    missing: int = 0
    """Bytes that the app received and that were not seen."""
    left_out: int = 0
    """Bytes that the agent did not send, on purpose."""

    @property
    def state(self) -> State:
        """How much of it was seen."""
        if self.missing:
            return State.GAP
        if self.closed_as not in _WHOLE:
            return State.UNFINISHED
        return State.JOINED_LATE if self.late else State.COMPLETE

    @property
    def seconds(self) -> float:
        """From the first to the last that was seen of it."""
        return max(0, self.ended - self.began) / 1e9


_WHOLE = (
    CloseReason.FINISHED,
    CloseReason.END_MISSED,
    CloseReason.RESET_BY_INITIATOR,
    CloseReason.RESET_BY_RESPONDER,
)

Record = Exchange | ConnectionSummary
"""What is shown."""
