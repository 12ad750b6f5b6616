"""A request on its way to its response."""

from podmirror_http.events import RequestHead
from podmirror_http.heads import values_of


class Exchange:
    """What must be remembered of a request until it and its response have ended."""

    __slots__ = ("awaits_continue", "changes_protocol", "interrupted", "method", "number")

    def __init__(self, number: int, head: RequestHead) -> None:
        self.number = number
        self.method = head.method
        self.awaits_continue = any(
            value.lower() == "100-continue" for value in values_of(head.headers, "expect")
        )
        """Whether the initiator may send no body at all, if the response comes first (RFC 9110, 10.1.1)."""
        self.changes_protocol = head.method == "CONNECT" or bool(values_of(head.headers, "upgrade"))
        """Whether what follows may be of another protocol."""
        self.interrupted = False
