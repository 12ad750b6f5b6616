"""What the layer sends, kept until the agent has said that it has it, since a tunnel may swallow what was written to it.

A position in this stream counts from the end of the handshake. There is little to keep, requests and credit, so there is no
bound but the credit itself: it is given for bytes that came, and none come while the agent hears nothing.
"""

from podmirror_wire.errors import ProtocolError


class Outgoing:
    """A stream of bytes that can be written again from any position that the agent has not acknowledged."""

    def __init__(self, position: int = 0) -> None:
        """Begin at a position."""
        self._kept = bytearray()
        self._kept_from = position
        self._taken = position

    def append(self, data: bytes) -> None:
        """Send these bytes after all others."""
        self._kept += data

    @property
    def taken(self) -> int:
        """The position behind what was given to be written."""
        return self._taken

    @property
    def has_more(self) -> bool:
        """Whether `take` has something to give."""
        return self._taken < self._end

    def take(self) -> bytes:
        """Give what is to be written to the tunnel next."""
        data = bytes(self._kept[self._taken - self._kept_from :])
        self._taken = self._end
        return data

    def acknowledge(self, position: int) -> None:
        """Keep nothing before this position any more: the agent has it.

        Raises:
            ProtocolError: So much was never sent.
        """
        if position > self._taken:
            raise ProtocolError(
                f"{position} bytes cannot have been received, for only {self._taken} were sent"
            )
        if position > self._kept_from:
            del self._kept[: position - self._kept_from]
            self._kept_from = position

    def rewind(self, position: int) -> None:
        """Give everything behind this position again: the tunnel is a new one.

        Raises:
            ProtocolError: What stands there is not kept, or was never sent.
        """
        if not self._kept_from <= position <= self._taken:
            raise ProtocolError(f"the requests cannot be taken up again behind byte {position}")
        self.acknowledge(position)
        self._taken = position

    @property
    def _end(self) -> int:
        return self._kept_from + len(self._kept)
