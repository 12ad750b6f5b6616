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
        self._spellings: dict[bytes, list[bytes]] = {}
        """Of each secret, the latest last."""
        self._longest_first: list[bytes] | None = []
        """All spellings; None until they are asked for."""
        self._beginnings: frozenset[bytes] = frozenset()
        """Of all of them, shorter than `_PREFIX_BYTES`."""
        self._count = 0
        self.held = 0
        """Bytes in memory, about."""

    def add(self, secret: bytes) -> None:
        """Look for this value from now on."""
        if len(secret) < LEAST_BYTES:
            return
        spellings = self._spellings.pop(secret, None)
        if spellings is None:
            spellings = [each for each in _spellings(secret) if LEAST_BYTES <= len(each) <= MOST_BYTES]
            self._longest_first = None
            self._count += len(spellings)
            self.held += sum(map(len, spellings))
        self._spellings[secret] = spellings
        while self._count > MOST_SECRETS or self.held > MOST_HELD_BYTES:
            oldest = self._spellings.pop(next(iter(self._spellings)))
            self._count -= len(oldest)
            self.held -= sum(map(len, oldest))

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
            secrets = {each for spellings in self._spellings.values() for each in spellings}
            self._longest_first = sorted(secrets, key=len, reverse=True)
            self._beginnings = frozenset(
                secret[:size] for secret in secrets for size in range(1, _PREFIX_BYTES)
            )
        return self._longest_first


def _spellings(secret: bytes) -> set[bytes]:
    """Give a value as a field holds it, without quotes and folds, and as URLs and JSON have it."""
    bare = b" ".join(secret.split()).strip(b'"')
    encoded = quote(bare, safe="").encode()
    in_small_letters = _ENCODED.sub(lambda found: found[0].lower(), encoded)
    escaped = bare.replace(b"/", b"\\/")
    return {secret, bare, unquote_to_bytes(bare), encoded, in_small_letters, quote(bare).encode(), escaped}
