"""Where a stream of whole requests stands, for who has it without the responses."""

from podmirror_http.framing import BodyReader, MalformedBody, request_framing
from podmirror_http.heads import MAX_HEAD_BYTES, MalformedHead, head_end, read_request_head


class RequestTracker:
    """Follows the requests of a connection from its first byte; holds at most a head."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._body: BodyReader | None = None
        self._foreign = False
        """Whether what comes is no request, as behind an upgrade."""

    @property
    def between_requests(self) -> bool:
        """Whether all requests so far are whole."""
        return not self._held and self._body is None and not self._foreign

    def receive_data(self, payload: bytes) -> None:
        """Take the initiator's next bytes."""
        if self._body is not None and not self._held:
            payload = self._read_body(self._body, payload)
        self._held += payload
        while self._held and not self._foreign and self._step():
            pass
        if self._foreign:
            self._held.clear()

    def _step(self) -> bool:
        """Read the next head or body; whether there may be more to read."""
        if self._body is not None:
            data = bytes(self._held)
            self._held.clear()
            self._held += self._read_body(self._body, data)
            return True
        while self._held.startswith((b"\n", b"\r\n")):
            del self._held[: self._held.index(b"\n") + 1]
        end = head_end(self._held, 0)
        if end is None:
            self._foreign = len(self._held) > MAX_HEAD_BYTES
            return False
        try:
            self._body = BodyReader(*request_framing(read_request_head(bytes(self._held[:end]))))
        except (MalformedHead, MalformedBody):
            self._foreign = True
            return False
        del self._held[:end]
        if self._body.ended:
            self._body = None
        return True

    def _read_body(self, body: BodyReader, data: bytes) -> bytes:
        """Give what is behind the body."""
        read = body.receive_data(data, 0, [])
        self._foreign = body.malformed
        if body.ended:
            self._body = None
        return data[read:]
