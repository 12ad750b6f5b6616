"""Where a view writes: a stream that may be slow, and never holds up the conversation with the agent.

A pipe's reader may pause for as long as it likes (`| less`), and a write to it waits. So a thread does the writing, and what
it has not written yet is the backlog. Whoever feeds the view gives the agent no credit while that is large: the agent's own
budgets then decide, and its ledger tells what they cost.
"""

import threading
from collections.abc import Callable
from typing import TextIO

BACKLOG_CHARACTERS = 8 << 20
"""Above which the reader is too slow: some seconds of a busy pod's exchanges."""


class Outlet:
    """A text stream's writer; what a view needs of `TextIO`."""

    def __init__(
        self,
        stream: TextIO,
        on_failure: Callable[[OSError], None],
        on_room: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin to write.

        Args:
            stream: Where to.
            on_failure: Called once, by the thread, with what made writing impossible: the reader is gone, or the disk full.
            on_room: Called by the thread when the reader has caught up after it was too slow.
        """
        self._stream = stream
        self._on_failure = on_failure
        self._on_room = on_room
        self._waiting: list[str] = []
        self._backlog = 0
        self._closing = False
        self._changed = threading.Condition()
        self.failure: OSError | None = None
        """What made writing impossible."""
        self._thread = threading.Thread(target=self._run, name="outlet", daemon=True)
        self._thread.start()

    @property
    def backlog(self) -> int:
        """Characters that are not written yet."""
        return self._backlog

    @property
    def is_full(self) -> bool:
        """Whether the reader is too slow."""
        return self._backlog > BACKLOG_CHARACTERS

    def write(self, text: str) -> int:
        """Write soon; after a failure, never."""
        with self._changed:
            if self.failure is None:
                self._waiting.append(text)
                self._backlog += len(text)
                self._changed.notify()
        return len(text)

    def flush(self) -> None:
        """Do nothing: whatever is written is flushed."""

    def close(self, seconds: float) -> bool:
        """Write the rest; give whether that was done in time."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)
        return not self._thread.is_alive() and self.failure is None

    def _run(self) -> None:
        try:
            while texts := self._take():
                piece = "".join(texts)
                self._stream.write(piece)
                self._stream.flush()
                with self._changed:
                    was_full = self.is_full
                    self._backlog -= len(piece)
                    has_room = was_full and not self.is_full
                if has_room:
                    self._on_room()
        except OSError as failure:
            with self._changed:
                self.failure = failure
                self._waiting.clear()
                self._backlog = 0
            self._on_failure(failure)

    def _take(self) -> list[str]:
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            texts, self._waiting = self._waiting, []
            return texts
