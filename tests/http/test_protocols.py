"""What a connection that is not HTTP/1 looks like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podmirror_http.protocols import Recognition, recognise
from podmirror_http.recognition import HTTP2_PREFACE
from tests.http.hellos import alpn, client_hello, server_name


def startup(*parameters: bytes, version: int = 0x30000) -> bytes:
    body = version.to_bytes(4) + b"".join(each + b"\0" for each in parameters) + b"\0"
    return (len(body) + 4).to_bytes(4) + body


def mongo(opcode: int, *, answers: int = 0, body: bytes = b"\0" * 20) -> bytes:
    fields = (16 + len(body), 7, answers, opcode)
    return b"".join(field.to_bytes(4, "little") for field in fields) + body


SSL_REQUEST = (8).to_bytes(4) + (80877103).to_bytes(4)
CANCEL_REQUEST = (16).to_bytes(4) + (80877102).to_bytes(4) + bytes(8)
MYSQL_GREETING = b"\x4a\0\0\0\x0a8.0.36\0" + bytes(67)


@pytest.mark.parametrize(
    ("to_responder", "to_initiator", "protocol", "detail"),
    [
        (client_hello(server_name("a.example"), alpn("h2")), b"", "TLS", "SNI a.example, ALPN h2"),
        (client_hello(), b"", "TLS", "no SNI"),
        (b"\x16\x03\x01", b"", "TLS", ""),
        (HTTP2_PREFACE + b"\0", b"", "HTTP/2", ""),
        (b"*2\r\n$5\r\nhello\r\n$1\r\n3\r\n", b"", "Redis", "begins with HELLO"),
        (startup(b"user", b"app", b"database", b"shop"), b"R", "PostgreSQL", "user app, database shop"),
        (startup(), b"", "PostgreSQL", ""),
        (SSL_REQUEST, b"", "PostgreSQL", "asks for TLS"),
        (SSL_REQUEST + client_hello(), b"S", "PostgreSQL", "inside TLS"),
        (SSL_REQUEST + startup(b"user", b"app"), b"NR", "PostgreSQL", "user app"),
        (CANCEL_REQUEST, b"", "PostgreSQL", "cancels a query"),
        (b"", MYSQL_GREETING, "MySQL", "server 8.0.36"),
        (mongo(2013), b"", "MongoDB", "begins with OP_MSG"),
        (b"", b"SSH-2.0-OpenSSH_9.6\r\n", "SSH", "SSH-2.0-OpenSSH_9.6"),
        (b"", b"220 mail.example ESMTP\r\n", "SMTP or FTP", "220 mail.example ESMTP"),
        (b"", b"", "unknown", ""),
        (b"hello there", b"and to you\r\n", "unknown", ""),
        (mongo(2013, answers=3), b"", "unknown", ""),
        (mongo(77), b"", "unknown", ""),
        (startup(version=0x90000), b"", "unknown", ""),
    ],
)
def test_a_conversation_is_recognised(to_responder: bytes, to_initiator: bytes, protocol: str, detail: str):
    assert recognise(to_responder, to_initiator) == Recognition(protocol, detail)


def test_a_late_join_is_recognised_by_what_is_plain_in_the_midst():
    record = b"\x17\x03\x03\x00\x20" + bytes(32)

    assert recognise(record, b"", late=True).protocol == "TLS"
    assert recognise(b"", record, late=True).protocol == "TLS"
    assert recognise(b"*1\r\n$4\r\nPING\r\n", b"", late=True).protocol == "Redis"
    assert recognise(b"", MYSQL_GREETING, late=True).protocol == "unknown"
    assert recognise(startup(b"user", b"app"), b"", late=True).protocol == "unknown"


@given(st.binary(max_size=100), st.binary(max_size=100), st.booleans())
def test_anything_looks_like_something(to_responder: bytes, to_initiator: bytes, late: bool):
    assert recognise(to_responder, to_initiator, late=late).protocol
    assert recognise(SSL_REQUEST + to_responder, to_initiator, late=late).protocol
