"""The requests of our own load, and the header by which each is known again in what was mirrored. No I/O."""

import re

HEADER = "X-Podmirror-Compare"
NUMBER = re.compile(HEADER.encode() + rb": (\d+)\r\n", re.IGNORECASE)


def request(number: int, path: str, size: int) -> bytes:
    """Give a request, padded with so many bytes."""
    lines = (
        f"GET {path} HTTP/1.1",
        "Host: podmirror-compare",
        f"{HEADER}: {number:08}",
        f"X-Podmirror-Padding: {'x' * size}",
    )
    return "\r\n".join((*lines, "", "")).encode()
