"""Reading what a container wrote, while it may still write."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

LIMIT = 16 * 1024 * 1024
"""A log larger than this is emptied: logs live in memory. A kubelet rotates at 10 MiB."""

_POLL = 0.1
_CHUNK = 64 * 1024


def tail_offset(path: Path, lines: int | None) -> int:
    """Where the last so many lines begin."""
    if lines is None:
        return 0
    content = path.read_bytes()
    parts = content.splitlines(keepends=True)
    return len(content) - sum(map(len, parts[len(parts) - lines :])) if lines else len(content)


async def read_log(
    path: Path, tail: int | None, is_running: Callable[[], bool] | None
) -> AsyncIterator[bytes]:
    """The log in pieces; with `is_running`, further ones until it says no."""
    with path.open("rb") as file:
        file.seek(tail_offset(path, tail))
        while True:
            # Asked before reading, so that what was written last is not missed.
            goes_on = is_running is not None and is_running()
            while chunk := file.read(_CHUNK):
                yield chunk
            if not goes_on:
                return
            if os.fstat(file.fileno()).st_size < file.tell():
                file.seek(0)
            await asyncio.sleep(_POLL)


def trim_logs(directory: Path) -> None:
    """Empty every log beyond the limit; writers append, so they go on at the beginning."""
    for path in directory.glob("pods/*/*/*.log"):
        # A pod may be going away at this moment, and its logs with it.
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > LIMIT:
                os.truncate(path, 0)
