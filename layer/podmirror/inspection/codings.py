"""Content codings undone (RFC 9110, 8.4.1), as far as the kept bytes go.

A body that was cut gives what its bytes hold, and a small body that unpacks to an enormous one no more than is asked for.
"""

import importlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any

MAX_CODINGS = 4
"""Nested more deeply than that nothing is undone: no server does it, and each level may multiply the size by a thousand."""

PIECE_BYTES = 16 * 1024
"""Unpacked at a time, so that a limit is kept even by libraries that know none."""


class CodingUnknown(Exception):
    """A content-coding that cannot be undone here; the message says which and what would help."""


def split_codings(header: str) -> list[str]:
    """Give the codings of a Content-Encoding header, in the order in which they were applied."""
    names = (name.strip().lower() for name in header.split(","))
    return [name for name in names if name and name != "identity"]


def decoded(data: bytes, codings: list[str], limit: int) -> bytes:
    """Undo codings.

    Args:
        data: A body, or the beginning of one.
        codings: As they were applied, in order.
        limit: Bytes of the result that are wanted, at most.

    Raises:
        CodingUnknown: One of them cannot be undone.
    """
    if len(codings) > MAX_CODINGS:
        raise CodingUnknown(f"{len(codings)} content-codings, one inside another")
    for coding in reversed(codings):
        data = _unpacked(data, coding, limit)
    return data[:limit]


def _unpacked(data: bytes, coding: str, limit: int) -> bytes:
    unpack = _UNPACKERS.get(coding)
    if unpack is None:
        raise CodingUnknown(f"content-coding {coding!r} is not known here")
    result = bytearray()
    for piece in unpack(data):
        result += piece
        if len(result) >= limit:
            break
    return bytes(result)


def _gzip(data: bytes) -> Iterator[bytes]:
    while data:  # a gzip file may have several members (RFC 1952, 2.2)
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        yield from _inflated(unpacker, data)
        data = unpacker.unused_data


def _deflate(data: bytes) -> Iterator[bytes]:
    # "deflate" means zlib's format (RFC 9110, 8.4.1.2); some send the bare one.
    is_zlib = len(data) >= 2 and data[0] & 0x0F == zlib.DEFLATED and int.from_bytes(data[:2]) % 31 == 0
    yield from _inflated(zlib.decompressobj(wbits=zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS), data)


def _inflated(unpacker: Any, data: bytes) -> Iterator[bytes]:  # zlib does not give its class a name
    while data and not unpacker.eof:
        try:
            yield unpacker.decompress(data, PIECE_BYTES)
        except zlib.error as error:
            raise CodingUnknown(f"not what its content-coding says: {error}") from None
        data = unpacker.unconsumed_tail


def _brotli(data: bytes) -> Iterator[bytes]:
    library = _library("br", "brotli")
    unpacker = library.Decompressor()
    for start in range(0, len(data), 64):  # a byte may unpack to many, and older versions know no limit
        try:
            yield unpacker.process(data[start : start + 64])
        except library.error as error:
            raise CodingUnknown(f"not what its content-coding says: {error}") from None


def _zstd(data: bytes) -> Iterator[bytes]:
    library = _library("zstd", "zstandard")
    try:
        with library.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
            while piece := reader.read(PIECE_BYTES):
                yield piece
    except library.ZstdError as error:
        raise CodingUnknown(f"not what its content-coding says: {error}") from None


def _library(coding: str, name: str) -> Any:  # neither is a dependency, so neither has types here
    try:
        return importlib.import_module(name)
    except ImportError:
        raise CodingUnknown(
            f"content-coding {coding!r} is undone where the Python package {name!r} is installed"
        ) from None


_UNPACKERS: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
