"""What connections are that are not HTTP/1, for a session that redacts: their bytes stay in the pod, their protocol is told.

Told is the protocol, and of TLS which server is asked for and which protocols are offered, as it stands in the ClientHello in
the clear. Of the others only what their conversation begins with, and nothing that names a user or what belongs to one.
"""

import re
from collections.abc import Iterable

from podmirror_agent.budget import OVERHEAD_BYTES, Budget
from podmirror_http.protocols import BEGINNING_BYTES, UNKNOWN, recognise
from podmirror_wire.frames import Data, Recognised
from podmirror_wire.values import Direction

_REQUEST = re.compile(rb"(?!PRI \* HTTP/2)[!#$%&'*+.^_`|~0-9A-Za-z-]+ [^ \r\n]* ?HTTP/1\.|HTTP/1\.")
"""What begins so is HTTP/1, which needs no telling: its exchanges are shown."""

_WITHOUT_DETAIL = frozenset({"PostgreSQL", "SMTP or FTP", "POP3", "IMAP"})
"""Whose detail names a user and a database, or is a line of which all but the first word may be anything."""


class Beginnings:
    """The first bytes of the connections of one session, until it is clear what they are."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._open: dict[int, tuple[bytearray, bytearray]] = {}
        self._late: set[int] = set()

    def open(self, connection: int, *, late: bool) -> None:
        """Begin with a connection."""
        if self._budget.take(OVERHEAD_BYTES):
            self._open[connection] = (bytearray(), bytearray())
            if late:
                self._late.add(connection)

    def receive_data(self, data: Data) -> Recognised | None:
        """Take the next bytes, and say what the connection is once both ends have spoken, or enough was said."""
        beginning = self._open.get(data.connection)
        if beginning is None:
            return None
        room = BEGINNING_BYTES - len(beginning[data.direction])
        taken = data.payload[:room]
        if not self._budget.take(len(taken)):
            self._forget(data.connection)
            return None
        beginning[data.direction].extend(taken)
        if _REQUEST.match(beginning[Direction.TO_RESPONDER]):
            self._forget(data.connection)
            return None
        return self.close(data.connection) if all(beginning) or len(taken) == room else None

    def close(self, connection: int) -> Recognised | None:
        """No more comes, or no more is needed: say what the connection is, unless that is unknown."""
        beginning = self._open.get(connection)
        if beginning is None:
            return None
        found = recognise(bytes(beginning[0]), bytes(beginning[1]), late=connection in self._late)
        self._forget(connection)
        if found.protocol == UNKNOWN:
            return None
        detail = "" if found.protocol in _WITHOUT_DETAIL else found.detail
        return Recognised(connection, {"protocol": found.protocol, "detail": detail})

    def forget(self, connections: Iterable[int]) -> None:
        """Give up connections whose rest nobody wants."""
        for connection in connections:
            self._forget(connection)

    def discard(self) -> None:
        """Give everything back."""
        self.forget(list(self._open))

    def _forget(self, connection: int) -> None:
        beginning = self._open.pop(connection, None)
        if beginning is not None:
            self._late.discard(connection)
            self._budget.give(OVERHEAD_BYTES + sum(map(len, beginning)))
