"""What a session does not want to see: exchanges that it did not select, and secrets.

Both are decided here, in the pod, so that neither crosses the tunnel. A session that asks for neither never comes here.
"""

from collections.abc import Iterable

from podmirror_agent.budget import Budget
from podmirror_agent.screened import Screened
from podmirror_agent.terms import Stamped, Tally, Terms
from podmirror_http import redaction, selection
from podmirror_http.pseudonyms import Pseudonyms
from podmirror_wire.frames import Data, Ended, Gap, Omitted
from podmirror_wire.values import Direction


class Screen:
    """The connections of one session."""

    def __init__(self, budget: Budget, sends: dict[Direction, bool]) -> None:
        """Begin, to select everything and redact nothing.

        Args:
            budget: Of all buffers.
            sends: Whether the session is sent the bytes of a direction; read anew each time.
        """
        self._tally = Tally()
        self._terms = Terms(budget, None, None, redaction.Rules(), sends, self._tally)
        self._connections: dict[int, Screened] = {}

    def select(self, text: str) -> None:
        """Take the session's option `select`.

        Raises:
            ValueError: It cannot be read, and why.
        """
        self._terms = self._terms._replace(selection=selection.parse_option(text))

    def redact(self, text: str) -> None:
        """Take the session's option `redact`.

        Raises:
            ValueError: It cannot be read, and why.
        """
        key, rules = redaction.parse_option(text)
        self._terms = self._terms._replace(pseudonyms=Pseudonyms(key), rules=rules)

    def open(self, connection: int, *, late: bool) -> None:
        """Begin to read a connection."""
        self._connections[connection] = Screened(connection, self._terms, late=late)

    def receive_event(self, event: Data | Omitted | Gap | Ended, pod_time: int) -> list[Stamped]:
        """Take what happened to a connection, and give what goes on."""
        screened = self._connections.get(event.connection)
        return screened.receive_event(event, pod_time) if screened is not None else []

    def close(self, connection: int, pod_time: int) -> list[Stamped]:
        """A connection is over: give what is left of it."""
        screened = self._connections.pop(connection, None)
        return screened.close(pod_time) if screened is not None else []

    def forget(self, connections: Iterable[int]) -> None:
        """Give up connections whose rest nobody wants."""
        for connection in connections:
            self.close(connection, 0)

    @property
    def connections(self) -> list[int]:
        """Those that are read."""
        return list(self._connections)

    def counts(self) -> dict[str, int]:
        """Give what the ledger says of this."""
        pseudonyms = self._terms.pseudonyms
        return {
            "filtered_exchanges": self._tally.filtered_exchanges,
            "unjudged_exchanges": self._tally.unjudged_exchanges,
            "filtered_bytes": self._tally.filtered_bytes,
            "redacted_values": pseudonyms.given if pseudonyms is not None else 0,
            "redacted_out_bytes": self._tally.redacted_out_bytes,
        }
