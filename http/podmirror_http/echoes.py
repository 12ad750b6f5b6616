"""Secrets that were seen in heads, looked for in what else is said on their connection: servers echo what they were sent.

They come back as they were, or as URLs and JSON spell them: with `%2F` for a slash, or a backslash in front of it.
"""

import re
from collections.abc import Iterator
from urllib.parse import quote, unquote_to_bytes

LEAST_BYTES = 12
"""Shorter values, as of a cookie that names a language, stand in texts that have nothing to do with them."""

MOST_BYTES = 8192
"""Longer ones are no fields that servers take."""

MOST_SECRETS = 512
"""Of a connection, spellings included; then the oldest is forgotten. Browsers keep at most 180 cookies for a site."""

MOST_HELD_BYTES = 128 * 1024
"""Of all of them: twice the longest head."""

_PREFIX_BYTES = 8
_ENCODED = re.compile(rb"%[0-9A-F]{2}")


class Echoes:
    """The secrets of one connection."""

    def __init__(self) -> None:
        self._secrets: dict[bytes, None] = {}
        self._longest_first: list[bytes] | None = []
        """None until it is asked for."""
        self._beginnings: frozenset[bytes] = frozenset()
        """Of all of them, shorter than `_PREFIX_BYTES`."""
        self.held = 0
        """Bytes in memory, about."""

    def add(self, secret: bytes) -> None:
        """Look for this value from now on."""
        if len(secret) < LEAST_BYTES:
            return
        for spelling in _spellings(secret):
            if LEAST_BYTES <= len(spelling) <= MOST_BYTES:
                self._add(spelling)

    def _add(self, secret: bytes) -> None:
        if secret in self._secrets:
            del self._secrets[secret]  # it is the latest again
        else:
            self._longest_first = None
            self.held += len(secret)
        self._secrets[secret] = None
        while len(self._secrets) > MOST_SECRETS or self.held > MOST_HELD_BYTES:
            oldest = next(iter(self._secrets))
            del self._secrets[oldest]
            self.held -= len(oldest)

    def find(self, text: bytes) -> Iterator[tuple[int, int]]:
        """Give where any of them stands, the longest first."""
        for secret in self._sorted():
            at = text.find(secret)
            while at >= 0:
                yield at, at + len(secret)
                at = text.find(secret, at + len(secret))

    def unfinished(self, text: bytes) -> int:
        """Give where in a text one of them may begin and not be over; its length if none does."""
        secrets = self._sorted()
        first = len(text)
        for size in range(1, min(_PREFIX_BYTES, len(text) + 1)):
            if text[-size:] in self._beginnings:
                first = len(text) - size
        for secret in secrets:
            at = max(0, len(text) - len(secret) + 1)
            while 0 <= (at := text.find(secret[:_PREFIX_BYTES], at, first + _PREFIX_BYTES)) < first:
                if secret.startswith(text[at:]):
                    first = at
                at += 1
        return first

    def rest(self, text: bytes) -> int | None:
        """Give how much of the beginning of a text may be the rest of one of them; None if the text is too short to tell."""
        size = 0
        for secret in self._sorted():
            if len(text) < len(secret) and text in secret:
                return None
            size = max(
                size,
                next((n for n in range(min(len(secret), len(text)), 0, -1) if secret.endswith(text[:n])), 0),
            )
        return size

    def _sorted(self) -> list[bytes]:
        if self._longest_first is None:
            self._longest_first = sorted(self._secrets, key=len, reverse=True)
            self._beginnings = frozenset(
                secret[:size] for secret in self._secrets for size in range(1, _PREFIX_BYTES)
            )
        return self._longest_first


def _spellings(secret: bytes) -> set[bytes]:
    """Give a value as a field holds it, without quotes and folds, and as URLs and JSON have it."""
    bare = b" ".join(secret.split()).strip(b'"')
    encoded = quote(bare, safe="").encode()
    in_small_letters = _ENCODED.sub(lambda found: found[0].lower(), encoded)
    escaped = bare.replace(b"/", b"\\/")
    return {secret, bare, unquote_to_bytes(bare), encoded, in_small_letters, quote(bare).encode(), escaped}
