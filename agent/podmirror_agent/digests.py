"""SHA-256 of what was seen of each connection, for a layer that wants to know what bytes they were and not have them."""

import hashlib
from typing import TYPE_CHECKING

from podmirror_wire.frames import Digest
from podmirror_wire.values import Direction

if TYPE_CHECKING:
    from hashlib import _Hash


class _Sum:
    """Of one direction."""

    __slots__ = ("hash", "length")

    def __init__(self) -> None:
        self.hash: _Hash = hashlib.sha256()
        self.length = 0


class Digests:
    """Of the connections of one session."""

    def __init__(self) -> None:
        self._sums: dict[tuple[int, Direction], _Sum] = {}

    def update(self, connection: int, direction: Direction, *pieces: bytes | memoryview) -> None:
        """Take the next bytes of a direction."""
        of = self._sums.setdefault((connection, direction), _Sum())
        for piece in pieces:
            of.hash.update(piece)
            of.length += len(piece)

    def finish(self, connection: int) -> list[Digest]:
        """Give the sums of both directions of a connection, and forget it."""
        return [self._finish(connection, direction) for direction in Direction]

    def _finish(self, connection: int, direction: Direction) -> Digest:
        of = self._sums.pop((connection, direction), _Sum())
        return Digest(connection, direction, of.length, of.hash.digest())
