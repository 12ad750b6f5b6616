"""`--stats`: shows what a session does while it runs.

On a terminal that is ours alone, a few figures below all that is said; elsewhere a line now and then.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from podmirror.progress import Progress
from podmirror.stats import Sample, figures, line

REFRESH_SECONDS = 0.5
"""Between two looks on a terminal: often enough to seem live."""

SMOOTHING_SECONDS = 2.0
"""Over which the rates on a terminal are told: shorter, they would jump too much to be read."""

LINE_SECONDS = 5.0
"""Between two lines elsewhere, of which each tells the rates since the one before."""


class LiveStats:
    """A task that shows the figures until it is stopped."""

    def __init__(self, progress: Progress, take_sample: Callable[[], Sample], *, in_place: bool) -> None:
        """Begin; must be called in an event loop.

        Args:
            progress: Shows them.
            take_sample: Gives the figures as they are.
            in_place: Whether nobody else writes to the terminal, if there is one, so that they can be drawn over.
        """
        self._progress = progress
        self._take_sample = take_sample
        self._first = take_sample()
        draws = in_place and progress.is_terminal
        self._task = asyncio.create_task(self._draw() if draws else self._write(), name="stats")

    async def stop(self) -> None:
        """Stop, and say what there was in all."""
        self._task.cancel()
        (fault,) = await asyncio.gather(self._task, return_exceptions=True)
        self._progress.hide()
        if isinstance(fault, Exception):
            self._progress.note(f"a fault of podmirror's own in --stats: {fault!r}")
        self._progress.note(line(self._first, self._take_sample()))

    async def _draw(self) -> None:
        samples = deque([self._first], maxlen=int(SMOOTHING_SECONDS / REFRESH_SECONDS) + 1)
        while True:
            samples.append(self._take_sample())
            self._progress.show(figures(samples[0], samples[-1]))
            await asyncio.sleep(REFRESH_SECONDS)

    async def _write(self) -> None:
        before = self._first
        while True:
            await asyncio.sleep(LINE_SECONDS)
            after = self._take_sample()
            self._progress.note(line(before, after))
            before = after
