"""What a session selects and redacts, and what came of that."""

from typing import NamedTuple

from podmirror_agent.budget import Budget
from podmirror_http.pseudonyms import Pseudonyms
from podmirror_http.redaction import Rules
from podmirror_http.selection import Selection
from podmirror_wire.frames import ConnectionFrame
from podmirror_wire.values import Direction


class Stamped(NamedTuple):
    """A frame, and when its bytes were captured, nanoseconds since 1970."""

    pod_time: int
    frame: ConnectionFrame


class Tally:
    """What a session left out and replaced."""

    def __init__(self) -> None:
        self.filtered_exchanges = 0
        self.unjudged_exchanges = 0
        """Of those, the ones that ended, or had waited for too long or for too much, before they could be judged."""
        self.filtered_bytes = 0
        self.redacted_out_bytes = 0


class Terms(NamedTuple):
    """What a session wants."""

    budget: Budget
    selection: Selection | None
    pseudonyms: Pseudonyms | None
    """None for no redaction."""
    rules: Rules
    sends: dict[Direction, bool]
    """Whether a direction's bytes are sent at all, or only how many there are."""
    tally: Tally
