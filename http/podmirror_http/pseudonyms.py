"""Stand-ins for secrets: of the same length, the same for the same value, and telling nothing of it to who lacks the key."""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterator
from typing import Protocol

KEY_BYTES = 32

MARK = b"redacted-"
_LINE_END = re.compile(rb"\r?\n[ \t]?|\r")
"""With the space that lets a field go on (RFC 9112, 5.2)."""

_LEAST_MARKED_BYTES = len(MARK) + 8
"""Shorter stand-ins are all digest: with the mark too many of them would be the same."""


class Found(Protocol):
    """A match of a pattern."""

    def span(self, group: int, /) -> tuple[int, int]:
        """Give where a group stands; (-1, -1) if it has no part in the match."""


class Pattern(Protocol):
    """A pattern over bytes, Python's own or RE2's."""

    @property
    def groups(self) -> int:
        """How many there are."""

    def finditer(self, text: bytes, /) -> Iterator[Found]:
        """Find one match after another."""


class Pseudonyms:
    """Gives stand-ins under a key, and counts them."""

    def __init__(self, key: bytes) -> None:
        """Begin; without the key nobody can try values until one fits."""
        self._key = key
        self.given = 0

    def of(self, value: bytes) -> bytes:
        """Give the stand-in of a value: small letters and digits, which mean nothing in a head, in JSON and in a URL."""
        self.given += 1
        text = self._digest(value)
        if len(value) >= _LEAST_MARKED_BYTES:
            text = MARK + text
        stand_in = _fitted(text, len(value))
        return (
            stand_in if stand_in != value else _fitted(self._digest(value + b"\0"), len(value), avoid=value)
        )

    def of_number(self, value: bytes) -> bytes:
        """Give a number in the place of one, or of another word of JSON."""
        self.given += 1
        digits = bytes(ord("1") + byte % 9 for byte in self._hmac(value))
        return _fitted(digits, len(value), avoid=value)

    def _digest(self, value: bytes) -> bytes:
        return base64.b32encode(self._hmac(value)).rstrip(b"=").lower()

    def _hmac(self, value: bytes) -> bytes:
        return hmac.new(self._key, value, hashlib.sha256).digest()


def _fitted(text: bytes, length: int, avoid: bytes | None = None) -> bytes:
    """Cut or repeat the text to a length."""
    fitted = (text * (length // len(text) + 1))[:length]
    if fitted == avoid and fitted:
        return (b"1" if fitted[:1] == b"2" else b"2") + fitted[1:]
    return fitted


class Redacted:
    """A text in which values are replaced."""

    def __init__(self, original: bytes, pseudonyms: Pseudonyms) -> None:
        self.original = original
        self._text = bytearray(original)
        self._pseudonyms = pseudonyms
        self._done = bytearray(len(original))
        """Of each byte whether it is replaced."""

    def __bytes__(self) -> bytes:
        return bytes(self._text)

    def replace(self, start: int, end: int, *, number: bool = False) -> None:
        """Replace the value that stands there, unless it is part of one that was; the ends of lines in it stay."""
        value = self.original[start:end]
        if not value.strip() or self._done.find(0, start, end) < 0:
            return
        self._done[start:end] = b"\1" * (end - start)
        stand_in = bytearray(self._pseudonyms.of_number(value) if number else self._pseudonyms.of(value))
        for found in _LINE_END.finditer(value):
            stand_in[found.start() : found.end()] = found[0]
        self._text[start:end] = stand_in

    def replace_matches(self, pattern: Pattern) -> None:
        """Replace a pattern's groups, or the whole of each match if it has none."""
        groups = range(1, pattern.groups + 1) if pattern.groups else (0,)
        for found in pattern.finditer(self.original):
            for group in groups:
                self.replace(*found.span(group))
