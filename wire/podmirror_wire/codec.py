"""How a frame becomes bytes, and bytes a frame, for every kind alike.

A frame is a length (32 bits), a kind (8 bits) and a body. The body is a fixed part, which `struct` describes, and for some
kinds a tail that takes the rest: raw bytes, UTF-8 text, or a map. All numbers are in network byte order. Each kind is a
dataclass that says which (`FIXED` and `TAIL`); its fields are packed in their order, an `Endpoint` as address and port.
"""

import struct
from dataclasses import fields
from enum import Enum
from typing import ClassVar, Self, get_type_hints

from podmirror_wire.errors import FrameTooLarge, MalformedFrame
from podmirror_wire.values import Endpoint

MAX_FRAME_BYTES = 1 << 20
"""Largest length prefix that is accepted: kind and body. Four times what a sender puts into one data frame."""

HEADER = struct.Struct("!IB")


class Tail(Enum):
    """How the last field of a frame takes the rest of its body."""

    NONE = "none"
    BYTES = "bytes"
    TEXT = "text"
    COUNTS = "counts"
    """Names with 64-bit counts: for each a length byte, the name, the count."""
    SETTINGS = "settings"
    """Names with text: for each a length byte, the name, a 16-bit length, the text."""


class Frame:
    """Base of all frames: packs and unpacks a dataclass by its `FIXED` struct and its `TAIL`."""

    __slots__ = ()
    KIND: ClassVar[int]
    FIXED: ClassVar[struct.Struct] = struct.Struct("")
    TAIL: ClassVar[Tail] = Tail.NONE

    def encode(self) -> bytes:
        """Give the whole frame, length prefix included.

        Raises:
            FrameTooLarge: The frame would be over `MAX_FRAME_BYTES`.
            MalformedFrame: A field holds what its place in the frame cannot.
        """
        try:
            fixed, tail = self._parts()
        except (ValueError, struct.error) as error:
            raise MalformedFrame(f"{type(self).__name__}: {error}") from error
        length = 1 + len(fixed) + len(tail)
        if length > MAX_FRAME_BYTES:
            raise FrameTooLarge(
                f"{type(self).__name__} of {length} bytes is over the limit of {MAX_FRAME_BYTES}"
            )
        return b"".join((HEADER.pack(length, self.KIND), fixed, tail))

    def _parts(self) -> tuple[bytes, bytes]:
        values = [getattr(self, name) for name in _field_types(type(self))]
        tail = _pack_tail(self.TAIL, values.pop()) if self.TAIL is not Tail.NONE else b""
        flat: list[object] = []
        for value in values:
            flat.extend((value.packed(), value.port) if isinstance(value, Endpoint) else (value,))
        return self.FIXED.pack(*flat), tail

    @classmethod
    def decode_body(cls, body: bytes) -> Self:
        """Read the body of a frame of this kind.

        Raises:
            MalformedFrame: The body is too short, too long, or holds a value that its field does not admit.
        """
        if len(body) < cls.FIXED.size or (cls.TAIL is Tail.NONE and len(body) > cls.FIXED.size):
            raise MalformedFrame(f"{cls.__name__} with a body of {len(body)} bytes")
        try:
            flat = iter(cls.FIXED.unpack_from(body))
            types = list(_field_types(cls).values())
            wanted = types if cls.TAIL is Tail.NONE else types[:-1]
            values = [
                Endpoint.from_packed(next(flat), next(flat)) if kind is Endpoint else kind(next(flat))
                for kind in wanted
            ]
            if cls.TAIL is not Tail.NONE:
                values.append(_unpack_tail(cls.TAIL, body[cls.FIXED.size :]))
            return cls(*values)
        except (ValueError, struct.error) as error:
            raise MalformedFrame(f"{cls.__name__}: {error}") from error


_types_by_class: dict[type[Frame], dict[str, type]] = {}


def _field_types(cls: type[Frame]) -> dict[str, type]:
    if cls not in _types_by_class:
        hints = get_type_hints(cls)
        _types_by_class[cls] = {field.name: hints[field.name] for field in fields(cls)}  # type: ignore[arg-type]  # subclasses are dataclasses
    return _types_by_class[cls]


def _pack_tail(tail: Tail, value: object) -> bytes:
    match value:
        case bytes():
            return value
        case str():
            return value.encode()
        case dict() if tail is Tail.COUNTS:
            return b"".join(_pack_name(name) + struct.pack("!Q", count) for name, count in value.items())
        case dict():
            return b"".join(
                _pack_name(name) + struct.pack("!H", len(text.encode())) + text.encode()
                for name, text in value.items()
            )
    raise TypeError(f"a tail cannot be {type(value).__name__}")


def _pack_name(name: str) -> bytes:
    encoded = name.encode()
    return bytes((len(encoded),)) + encoded


def _unpack_tail(tail: Tail, rest: bytes) -> object:
    if tail is Tail.BYTES:
        return rest
    if tail is Tail.TEXT:
        return rest.decode()
    entries: dict[str, object] = {}
    position = 0
    while position < len(rest):
        name_end = position + 1 + rest[position]
        name = rest[position + 1 : name_end].decode()
        if tail is Tail.COUNTS:
            (entries[name],) = struct.unpack_from("!Q", rest, name_end)
            position = name_end + 8
        else:
            (length,) = struct.unpack_from("!H", rest, name_end)
            position = name_end + 2 + length
            if position > len(rest):
                raise ValueError(f"setting {name!r} runs past the end of the frame")
            entries[name] = rest[name_end + 2 : position].decode()
    return entries
