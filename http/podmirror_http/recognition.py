"""What a stream of bytes looks like from its first ones."""

_TLS_HANDSHAKE = 0x16
_TLS_MAJOR_VERSION = 0x03
_TLS_PREFIX_BYTES = 3
_TLS_RECORD_TYPES = range(0x14, 0x18)
"""Change of cipher, alert, handshake and application data (RFC 8446, B.1)."""
_TLS_RECORD_MINORS = range(1, 4)
TLS_HEADER_BYTES = 5
"""Of a record (RFC 8446, 5.1)."""
_TLS_MAX_RECORD_BYTES = (1 << 14) + 2048
"""Of a ciphertext (RFC 5246, 6.2.3); TLS 1.3 allows less."""

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""The first bytes of every client that speaks HTTP/2 (RFC 9113, 3.4)."""


def looks_like_tls(beginning: bytes) -> bool | None:
    """Whether the initiator's first bytes begin a TLS handshake record (RFC 8446, 5.1); None if they are too few to tell.

    The record type for handshakes, then version 3.0 to 3.4: TLS 1.3 itself writes 3.1 or 3.3.
    """
    head = beginning[:_TLS_PREFIX_BYTES]
    fits = all(
        (byte == _TLS_HANDSHAKE, byte == _TLS_MAJOR_VERSION, byte <= 4)[position]
        for position, byte in enumerate(head)
    )
    if not fits:
        return False
    return True if len(head) == _TLS_PREFIX_BYTES else None


def looks_like_tls_record(beginning: bytes) -> bool | None:
    """Whether bytes from the midst of a connection begin any record of TLS; None if they are too few to tell.

    A record's header holds its type, a version from 3.1 to 3.3, and its length (RFC 8446, 5.1). Random bytes pass for one once
    in a million times.
    """
    head = beginning[:TLS_HEADER_BYTES]
    allowed = (_TLS_RECORD_TYPES, (_TLS_MAJOR_VERSION,), _TLS_RECORD_MINORS)
    if not all(byte in values for byte, values in zip(head, allowed, strict=False)):
        return False
    if len(head) < TLS_HEADER_BYTES:
        return None
    return 0 < int.from_bytes(head[3:]) <= _TLS_MAX_RECORD_BYTES


def begins_http2(beginning: bytes) -> bool | None:
    """Whether the initiator's first bytes are HTTP/2's preface; None if they are too few to tell."""
    head = beginning[: len(HTTP2_PREFACE)]
    if not HTTP2_PREFACE.startswith(head):
        return False
    return True if len(head) == len(HTTP2_PREFACE) else None
