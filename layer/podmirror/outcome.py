"""What becomes of mirrored connections."""

from enum import Enum

from podmirror_wire.values import CloseReason


class Outcome(Enum):
    """What became of a mirrored connection."""

    OPEN = "open"
    WHOLE = "whole"
    """Every byte went to a local connection, from the SYN to the end."""
    RESET = "reset"
    """The same for a connection that one side reset: what came before it was delivered, and the reset passed on."""
    JOINED = "joined"
    """A late join, delivered from a request on, or from the first byte that was seen."""
    GAP = "gap"
    """Bytes were missing; what was certain was delivered."""
    CUT = "cut"
    """Given up by the agent, because a byte budget was full."""
    SHED = "shed"
    """Given up by the agent, because its CPU budget was used up."""
    UNFINISHED = "unfinished"
    """Still open when the session ended, or its end was never seen; nothing is known to be missing."""
    TLS = "tls"
    SERVER_FIRST = "server_first"
    UNJOINED = "unjoined"
    """A late join in which no request was recognised."""
    HTTP2 = "http2"
    """A late join in HTTP/2, whose bytes make sense only behind all that came before them."""
    SKIPPED = "skipped"
    """A late join that was not asked for."""
    FILTERED = "filtered"
    """Nothing of it was selected."""
    WITHHELD = "withheld"
    """Part of a request could not be redacted safely, and was left out; what was certain was delivered."""


ENDS = {
    CloseReason.FINISHED: Outcome.WHOLE,
    CloseReason.RESET_BY_INITIATOR: Outcome.RESET,
    CloseReason.RESET_BY_RESPONDER: Outcome.RESET,
    CloseReason.CUT: Outcome.CUT,
    CloseReason.SHED: Outcome.SHED,
}
"""What a whole connection that ended like that is; any other end leaves it unfinished."""
