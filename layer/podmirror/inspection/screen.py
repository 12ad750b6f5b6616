"""Keeps the live view up to date, at a rate that the machine can bear."""

import asyncio
from collections.abc import Callable
from time import perf_counter

REFRESH_SECONDS = 0.1
"""Between two pictures: what seems live, and no more than a reader's eye can follow."""

DRAWING_SHARE = 10
"""One part in so many of the time may go into drawing: on a slow terminal there are fewer pictures."""


class Screen:
    """A task that draws until it is stopped."""

    def __init__(self, draw: Callable[[float], None]) -> None:
        """Begin; must be called in an event loop.

        Args:
            draw: Draws a picture, given the time in monotonic seconds.
        """
        self._draw = draw
        self._task = asyncio.create_task(self._run(), name="screen")

    async def stop(self) -> None:
        """Draw no more.

        Raises:
            Exception: What made drawing impossible.
        """
        self._task.cancel()
        (fault,) = await asyncio.gather(self._task, return_exceptions=True)
        if isinstance(fault, Exception):
            raise fault

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = perf_counter()
            self._draw(loop.time())
            cost = perf_counter() - began
            await asyncio.sleep(max(REFRESH_SECONDS - cost, (DRAWING_SHARE - 1) * cost))
