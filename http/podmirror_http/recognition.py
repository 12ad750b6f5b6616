"""What a stream of bytes looks like from its first ones."""

_TLS_HANDSHAKE = 0x16
_TLS_MAJOR_VERSION = 0x03
_TLS_PREFIX_BYTES = 3


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
