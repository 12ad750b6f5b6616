"""The local process of a comparison: takes every connection, and notes when each numbered request has come."""

import asyncio
import time
from typing import Self

from podmirror.compare.numbers import NUMBER

_KEPT = 64
"""Bytes in which a number may have begun."""


class Sink:
    """A local server that reads and answers nothing."""

    def __init__(self) -> None:
        self.port = 0
        self.delivered: dict[int, float] = {}
        """When each numbered request came first, seconds since 1970."""
        self._server: asyncio.Server

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            rest = b""
            while data := await reader.read(256 * 1024):
                now = time.time()
                text = rest + data
                end = 0
                for match in NUMBER.finditer(text):
                    self.delivered.setdefault(int(match[1]), now)
                    end = match.end()
                rest = text[max(end, len(text) - _KEPT) :]
        except OSError:
            pass
        finally:
            writer.close()
