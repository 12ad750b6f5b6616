"""ClientHellos, built from RFC 8446, 4.1.2."""


def vector(length_size: int, content: bytes) -> bytes:
    return len(content).to_bytes(length_size) + content


def extension(kind: int, content: bytes) -> bytes:
    return kind.to_bytes(2) + vector(2, content)


def server_name(name: str) -> bytes:
    return extension(0, vector(2, b"\0" + vector(2, name.encode())))


def alpn(*protocols: str) -> bytes:
    return extension(16, vector(2, b"".join(vector(1, each.encode()) for each in protocols)))


def client_hello(*extensions: bytes, session: bytes = bytes(32), record_bytes: int = 1 << 14) -> bytes:
    body = b"\x03\x03" + bytes(32) + vector(1, session) + vector(2, b"\x13\x01") + vector(1, b"\0")
    if extensions:
        body += vector(2, b"".join(extensions))
    message = b"\x01" + vector(3, body)
    return b"".join(
        b"\x16\x03\x01" + vector(2, message[at : at + record_bytes])
        for at in range(0, len(message), record_bytes)
    )
