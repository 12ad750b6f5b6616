"""Where in the bytes of a JSON text the values stand that a path names.

A library would parse the text, but none says at which byte a value stands, which is what replacing it in place needs. The text
is walked once, without recursion, since its nesting is the choice of whoever sent it.
"""

import codecs
import json
import re
from typing import NamedTuple

_STEP = re.compile(r"""\.\.|\.(?=\w)|\[(?:(\d+)|\*|'([^']*)'|"([^"]*)")\]|\.\*|([\w-]+)""")
_TOKEN = re.compile(rb'[ \t\r\n]*(?:([{}\[\],:])|("(?:[^"\\\x00-\x1f]|\\.)*")|([-+.0-9A-Za-z]+))')
_SCALAR = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|true|false|null")
_SPACE = re.compile(rb"[ \t\r\n]*")

_CLOSINGS = (
    ((b"]", "comma"), (b"]", "value or ]")),
    ((b"}", "comma"), (b"}", "key or }")),
)
"""What may close an array, and an object, and when."""

BYTE_ORDER_MARK = codecs.BOM_UTF8
"""Which a reader may ignore (RFC 8259, 8.1)."""

MAX_DEPTH = 512
"""Deeper texts are not read: Python's own parser stops at about twice that."""


class NotJson(Exception):
    """The bytes are no JSON text, or one that is nested too deeply."""


class Place(NamedTuple):
    """Where a scalar stands: of a string, what is between its quotes."""

    start: int
    end: int
    is_string: bool


Key = str | int
Path = tuple[Key | None, ...]
"""Steps from the root: a name, an index, None for any; `DEEP` before a step means at any depth."""

DEEP = -1


def parse_path(text: str) -> Path:
    """Read `$.user.token`, `$.items[*].id`, `$['odd name'][0]`, `$..password`.

    Raises:
        ValueError: It is none; the text says why.
    """
    if not text.startswith("$"):
        raise ValueError(f"the JSON path {text!r} does not begin with $")
    steps: list[Key | None] = []
    at = 1
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None:
            raise ValueError(f"the JSON path {text!r} cannot be read from {text[at:]!r} on")
        at = step.end()
        index, quoted, double, name = step.groups()
        if index is not None:
            steps.append(int(index))
        elif step[0] == "..":
            steps.append(DEEP)
        elif step[0] in (".*", "[*]"):
            steps.append(None)
        elif step[0] != ".":
            steps.append(next(each for each in (quoted, double, name) if each is not None))
    if not steps or steps[-1] == DEEP:
        raise ValueError(f"the JSON path {text!r} names no value")
    return tuple(steps)


class _Level:
    """An object or array that is open."""

    __slots__ = ("is_object", "states", "step")

    def __init__(self, states: frozenset[tuple[int, int]], *, is_object: bool) -> None:
        self.states = states
        """Of each path how many steps have been taken: (path, steps)."""
        self.is_object = is_object
        self.step: Key | None = None if is_object else 0


def find_places(text: bytes, paths: list[Path]) -> list[Place]:
    """Give the scalars that some path names, or that stand in an object or array which one names; in their order.

    Raises:
        NotJson: As it says.
    """
    if not any(_may_lead(path, text) for path in paths):
        return []
    try:
        text.decode()
    except UnicodeDecodeError:
        raise NotJson from None
    places: list[Place] = []
    at = len(BYTE_ORDER_MARK) if text.startswith(BYTE_ORDER_MARK) else 0
    while at < len(text):  # one text, or several, one behind the other, as in a log of JSON lines
        at = _walk(text, at, paths, places)
        space = _SPACE.match(text, at)
        at = space.end() if space else at
    return places


def _may_lead(path: Path, text: bytes) -> bool:
    """Whether all the names of a path are in the text, or may be in it in another spelling; this is quick."""
    if b"\\" in text or b"\0" in text:
        return True
    return all(step.encode() in text for step in path if isinstance(step, str))


def _walk(text: bytes, at: int, paths: list[Path], places: list[Place]) -> int:
    """Read one JSON value; give where it ends."""
    levels: list[_Level] = []
    states = frozenset((number, 0) for number in range(len(paths)))
    expected = "value"
    while True:
        token = _TOKEN.match(text, at)
        if token is None:
            raise NotJson
        at = token.end()
        mark, string, word = token.groups()
        if expected in ("value", "value or ]") and (mark in (b"{", b"[") or mark is None):
            inner = states if not levels else _step(levels[-1].states, levels[-1].step, paths)
            if mark is not None:
                levels.append(_Level(inner, is_object=mark == b"{"))
                expected = "key or }" if mark == b"{" else "value or ]"
                if len(levels) > MAX_DEPTH:
                    raise NotJson
                continue
            _note_scalar(token, inner, paths, places, is_string=word is None)
        elif expected in ("key", "key or }") and string is not None:
            levels[-1].step = _name(string)
            expected = "colon"
            continue
        elif expected == "colon" and mark == b":":
            expected = "value"
            continue
        elif expected == "comma" and mark == b",":
            level = levels[-1]
            if isinstance(level.step, int):
                level.step += 1
            expected = "key" if level.is_object else "value"
            continue
        elif levels and (mark, expected) in _CLOSINGS[levels[-1].is_object]:
            levels.pop()
        else:
            raise NotJson
        if not levels:
            return at
        expected = "comma"


def _name(string: bytes) -> str:
    try:
        return str(json.loads(string))
    except ValueError:
        raise NotJson from None


def _note_scalar(
    token: re.Match[bytes],
    states: frozenset[tuple[int, int]],
    paths: list[Path],
    places: list[Place],
    *,
    is_string: bool,
) -> None:
    start, end = token.span(2 if is_string else 3)
    if not is_string and not _SCALAR.fullmatch(token.string, start, end):
        raise NotJson
    if any(taken >= len(paths[number]) for number, taken in states):
        places.append(Place(start + 1, end - 1, True) if is_string else Place(start, end, False))


def _step(
    states: frozenset[tuple[int, int]], step: Key | None, paths: list[Path]
) -> frozenset[tuple[int, int]]:
    """Follow every path one level down."""
    after: set[tuple[int, int]] = set()
    for number, taken in states:
        path = paths[number]
        if taken >= len(path):  # everything in what a path names is named
            after.add((number, taken))
            continue
        next_taken = taken
        if path[taken] == DEEP:
            after.add((number, taken))
            next_taken += 1
        wanted = path[next_taken]
        if wanted is None or (wanted == step and type(wanted) is type(step)):
            after.add((number, next_taken + 1))
    return frozenset(after)
