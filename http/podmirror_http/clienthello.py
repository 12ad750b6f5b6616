"""What a TLS client says in the clear: the server that it wants, and the protocols that it would speak.

Read from the ClientHello (RFC 8446, 4.1.2), which may be cut into several records (RFC 8446, 5.1), and of which the beginning
may be all that was seen.
"""

from dataclasses import dataclass

MAX_HELLO_BYTES = 64 * 1024
"""No more of a connection's beginning is looked at: post-quantum key shares make 2 kB, and no hello is a hundred times that."""

_RECORD_HEADER_BYTES = 5
_HANDSHAKE = 0x16
_CLIENT_HELLO = 1
_MESSAGE_HEADER_BYTES = 4
_VERSION_AND_RANDOM_BYTES = 34
_SERVER_NAME = 0
"""RFC 6066, 3."""
_ALPN = 16
"""RFC 7301, 3.1."""
_HOST_NAME = 0


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a ClientHello says."""

    server_name: str
    """Empty if it names none, or if that part was not seen."""
    protocols: tuple[str, ...]
    """By ALPN, the preferred first."""
    whole: bool
    """Whether all of it was there to be read."""


def read_client_hello(beginning: bytes) -> ClientHello | None:
    """Read a connection's first bytes to the responder; None if they are no ClientHello."""
    message, cut = _handshake_bytes(beginning[:MAX_HELLO_BYTES])
    if not message or message[0] != _CLIENT_HELLO:
        return None
    length = int.from_bytes(message[1:_MESSAGE_HEADER_BYTES])
    body = message[_MESSAGE_HEADER_BYTES : _MESSAGE_HEADER_BYTES + length]
    whole = not cut and len(message) >= _MESSAGE_HEADER_BYTES + length
    name = ""
    protocols: tuple[str, ...] = ()
    try:
        for kind, content in _extensions(_Reader(body)):
            if kind == _SERVER_NAME:
                name = _server_name(_Reader(content))
            elif kind == _ALPN:
                protocols = _protocols(_Reader(content))
    except _TooShortError:
        whole = False
    return ClientHello(name, protocols, whole)


def _handshake_bytes(data: bytes) -> tuple[bytes, bool]:
    """Give what the handshake records at the beginning hold, up to the first message's end, and whether a record was cut."""
    message = b""
    position = 0
    while data[position : position + 1] == bytes([_HANDSHAKE]):
        header = data[position : position + _RECORD_HEADER_BYTES]
        if len(header) < _RECORD_HEADER_BYTES:
            break
        length = int.from_bytes(header[3:])
        position += _RECORD_HEADER_BYTES
        message += data[position : position + length]
        position += length
        if len(message) >= _MESSAGE_HEADER_BYTES + int.from_bytes(message[1:_MESSAGE_HEADER_BYTES]):
            return message, False
    return message, True


class _TooShortError(Exception):
    """A field goes beyond what there is."""


class _Reader:
    """Takes fields with a length before them."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __bool__(self) -> bool:
        return bool(self._data)

    def take(self, size: int) -> bytes:
        if len(self._data) < size:
            raise _TooShortError
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def vector(self, length_size: int) -> bytes:
        return self.take(self.number(length_size))


def _extensions(hello: _Reader) -> "list[tuple[int, bytes]]":
    hello.take(_VERSION_AND_RANDOM_BYTES)
    hello.vector(1)  # session
    hello.vector(2)  # cipher suites
    hello.vector(1)  # compression methods
    found = []
    if hello:
        hello.number(2)  # the length of all, of which the end may not have been seen
    while hello:
        try:
            found.append((hello.number(2), hello.vector(2)))
        except _TooShortError:
            break
    return found


def _server_name(extension: _Reader) -> str:
    names = _Reader(extension.vector(2))
    while names:
        kind, name = names.number(1), names.vector(2)
        if kind == _HOST_NAME:
            return name.decode("ascii", "backslashreplace")
    return ""


def _protocols(extension: _Reader) -> tuple[str, ...]:
    names = _Reader(extension.vector(2))
    found = []
    while names:
        found.append(names.vector(1).decode("ascii", "backslashreplace"))
    return tuple(found)
