"""What a connection that is not HTTP/1 looks like, from the first bytes of each direction.

A guess for a reader's eyes, from what each protocol's own description says its conversations begin with. Nothing else rests on
it. Late joins are recognised only where a message's beginning is plain enough in the midst of a connection.
"""

import re
from dataclasses import dataclass

from podmirror_http.clienthello import read_client_hello
from podmirror_http.recognition import begins_http2, looks_like_tls, looks_like_tls_record

BEGINNING_BYTES = 4096
"""Of each direction, enough to recognise it by: a ClientHello with post-quantum key shares makes 2 kB."""

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Recognition:
    """What a connection looks like."""

    protocol: str
    detail: str = ""
    """More of it, for a reader; empty if there is nothing to say."""


def recognise(to_responder: bytes, to_initiator: bytes, *, late: bool = False) -> Recognition:
    """Say what a connection looks like.

    Args:
        to_responder: The initiator's first bytes.
        to_initiator: The responder's first bytes.
        late: Whether the connection's beginning was not seen, and the bytes are from its midst.
    """
    for judge in (_tls, _http2, _redis, _postgresql, _mysql, _mongodb, _greeting):
        found = judge(to_responder, to_initiator, late)
        if found is not None:
            return found
    return Recognition(UNKNOWN)


def _tls(to_responder: bytes, to_initiator: bytes, late: bool) -> Recognition | None:
    if late:
        is_record = looks_like_tls_record(to_responder) or looks_like_tls_record(to_initiator)
        return Recognition("TLS") if is_record else None
    if not looks_like_tls(to_responder):
        return None
    hello = read_client_hello(to_responder)
    if hello is None:
        return Recognition("TLS")
    named = f"SNI {hello.server_name}" if hello.server_name else ("no SNI" if hello.whole else "")
    spoken = f"ALPN {','.join(hello.protocols)}" if hello.protocols else ""
    return Recognition("TLS", ", ".join(filter(None, (named, spoken))))


def _http2(to_responder: bytes, _: bytes, __: bool) -> Recognition | None:
    return Recognition("HTTP/2") if begins_http2(to_responder) else None


_REDIS_COMMAND = re.compile(rb"\*[1-9]\d{0,5}\r\n\$[1-9]\d{0,8}\r\n([A-Za-z][A-Za-z.]{1,30})\r\n")
"""An array of bulk strings (https://redis.io/docs/latest/develop/reference/protocol-spec/)."""


def _redis(to_responder: bytes, _: bytes, __: bool) -> Recognition | None:
    command = _REDIS_COMMAND.match(to_responder)
    if command is None:
        return None
    return Recognition("Redis", f"begins with {command[1].decode('ascii').upper()}")


_POSTGRESQL_SSL_REQUEST = (80877103).to_bytes(4)
_POSTGRESQL_GSS_REQUEST = (80877104).to_bytes(4)
_POSTGRESQL_CANCEL_REQUEST = (80877102).to_bytes(4)
_POSTGRESQL_VERSIONS = ((3, 0), (3, 2))
"""https://www.postgresql.org/docs/current/protocol-message-formats.html, StartupMessage."""


def _postgresql(to_responder: bytes, to_initiator: bytes, late: bool) -> Recognition | None:
    if late or len(to_responder) < 8:
        return None
    length, code = int.from_bytes(to_responder[:4]), to_responder[4:8]
    if length == 8 and code in (_POSTGRESQL_SSL_REQUEST, _POSTGRESQL_GSS_REQUEST):
        wanted = "TLS" if code == _POSTGRESQL_SSL_REQUEST else "GSSAPI"
        if to_initiator[:1] in (b"S", b"G"):
            return Recognition("PostgreSQL", f"inside {wanted}")
        rest = to_responder[8:]
        return _postgresql(rest, to_initiator[1:], late) or Recognition("PostgreSQL", f"asks for {wanted}")
    if length == 16 and code == _POSTGRESQL_CANCEL_REQUEST:
        return Recognition("PostgreSQL", "cancels a query")
    if (int.from_bytes(code[:2]), int.from_bytes(code[2:])) not in _POSTGRESQL_VERSIONS or length > 10_000:
        return None
    return Recognition("PostgreSQL", _postgresql_names(to_responder[8:length]))


def _postgresql_names(parameters: bytes) -> str:
    fields = parameters.split(b"\0")
    named = dict(zip(fields[::2], fields[1::2], strict=False))
    return ", ".join(
        f"{name} {named[name.encode()].decode('utf-8', 'backslashreplace')}"
        for name in ("user", "database")
        if named.get(name.encode())
    )


_MYSQL_GREETING = re.compile(rb"(...)\0\x0a([0-9][\x21-\x7e]{2,60})\0", re.DOTALL)
"""A first packet in protocol 10 (https://dev.mysql.com/doc/dev/mysql-server/latest/, Protocol::HandshakeV10)."""


def _mysql(_: bytes, to_initiator: bytes, late: bool) -> Recognition | None:
    greeting = None if late else _MYSQL_GREETING.match(to_initiator)
    if greeting is None or not 40 <= int.from_bytes(greeting[1], "little") <= 300:
        return None
    version = greeting[2].decode("ascii")
    return Recognition("MySQL", f"server {version}")


_MONGODB_OPCODES = {2004: "OP_QUERY", 2012: "OP_COMPRESSED", 2013: "OP_MSG"}
"""Those that a client begins with (https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/)."""
_MONGODB_HEADER_BYTES = 16
_MONGODB_MAX_MESSAGE_BYTES = 48_000_000


def _mongodb(to_responder: bytes, _: bytes, __: bool) -> Recognition | None:
    if len(to_responder) < _MONGODB_HEADER_BYTES:
        return None
    length, _request, answers, opcode = (
        int.from_bytes(to_responder[at : at + 4], "little") for at in range(0, _MONGODB_HEADER_BYTES, 4)
    )
    if not _MONGODB_HEADER_BYTES < length <= _MONGODB_MAX_MESSAGE_BYTES or answers:
        return None
    name = _MONGODB_OPCODES.get(opcode)
    return Recognition("MongoDB", f"begins with {name}") if name else None


_GREETING = re.compile(rb"([\x20-\x7e]{3,120})\r?\n")
_GREETINGS = (
    (b"SSH-", "SSH"),
    (b"220 ", "SMTP or FTP"),
    (b"220-", "SMTP or FTP"),
    (b"+OK", "POP3"),
    (b"* OK", "IMAP"),
)


def _greeting(_: bytes, to_initiator: bytes, late: bool) -> Recognition | None:
    line = None if late else _GREETING.match(to_initiator)
    if line is None:
        return None
    name = next((name for prefix, name in _GREETINGS if line[1].startswith(prefix)), None)
    return Recognition(name, line[1].decode("ascii")) if name else None
