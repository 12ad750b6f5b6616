"""Waiting for something to become true, up to a deadline, in place of sleeping."""

import asyncio
import time
from collections.abc import Callable

POLL_SECONDS = 0.005
PATIENCE_SECONDS = 20.0


async def until(fact: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until `fact` gives something true."""
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "it did not become true in time"
        await asyncio.sleep(POLL_SECONDS)
