"""A session's output on its way into a tunnel that may break, and the last of it once more for the tunnel that follows.

Theory of operation. The output is one stream of bytes, in which a position counts from the end of the handshake. Bytes that
were written to a tunnel may have been swallowed by it, so they are kept in a ring until the layer says that it has them. While
the ring is full nothing more is written: the frames wait in the outbox, where what waits is bounded and what is given up is
counted. So a position that the layer can name is never one that the ring has lost, and nothing is ever spliced.

A session that does not ask for a ring is written without any of this, and cannot be resumed.
"""

from mmap import mmap

from podmirror_agent.budget import Budget
from podmirror_agent.outbox import Outbox
from podmirror_wire.errors import ProtocolError

MAX_RING_BYTES = 4 << 20
"""For one session: what may be on its way to a layer. At a round trip of 40 ms that is 100 MB/s."""

MIN_RING_BYTES = 64 * 1024
"""Less would make every session slow; where the budget has not even this, a session goes without."""

RING_SHARE = 4
"""A ring takes at most this part (a quarter) of what the budget has left: of one of 4 MiB it would else take all, and leave no
connection room to be followed."""

BUFFERS_PER_WRITE = 512
"""Parts that are given to the kernel at a time: half of its limit (UIO_MAXIOV, linux/uio.h)."""

Buffer = bytes | memoryview


class Replay:
    """What an outbox has ready, what of it was written, and what of that the layer may not have."""

    def __init__(self, outbox: Outbox, budget: Budget) -> None:
        self._outbox = outbox
        self._budget = budget
        self._ring: mmap | None = None
        self._parts: list[Buffer] = []
        """Taken from the outbox and not yet written."""
        self._fresh = False
        """Whether some of those may belong to the capture's ring."""
        self._kept_from: int = 0
        self._written: int = 0
        """Position up to which the tunnel has been given everything."""
        self._end: int = 0
        """Position up to which some tunnel has."""

    @property
    def can_resume(self) -> bool:
        """Whether written bytes are kept."""
        return self._ring is not None

    def begin_to_keep(self, size: int) -> None:
        """Keep up to `size` written bytes from now on, or what the budget has room for."""
        left = self._budget.limit - self._budget.held
        size = min(size, MAX_RING_BYTES, left // RING_SHARE)
        if self._ring is None and size >= MIN_RING_BYTES and self._budget.take(size):
            self._ring = mmap(-1, size)
            self._kept_from = self._written

    def release(self) -> None:
        """Give everything up."""
        self._parts.clear()
        if self._ring is not None:
            self._budget.give(len(self._ring))
            self._ring.close()
            self._ring = None

    def rewind(self, position: int) -> None:
        """Go on behind this position, in a new tunnel.

        Raises:
            ProtocolError: It is none at which the output can be taken up again.
        """
        if self._ring is None or not self._kept_from <= position <= self._end:
            raise ProtocolError(f"the output cannot be taken up again behind byte {position}")
        self._kept_from = self._written = position

    def acknowledge(self, position: int) -> None:
        """Keep nothing before this position any more: the layer has it.

        Raises:
            ProtocolError: So much was never written.
        """
        if position > self._end and self._ring is not None:
            raise ProtocolError(f"{position} bytes cannot have been received, for only {self._end} were sent")
        self._kept_from = max(self._kept_from, position)

    def next_buffers(self) -> list[Buffer]:
        """Give what is to be written next; nothing if there is nothing, or if the layer must first say what it has."""
        if self._written < self._end:
            return self._replayed()
        if not self._parts and self._outbox.has_output:
            self._parts = self._outbox.take_output()
            self._fresh = True
        parts = self._parts[:BUFFERS_PER_WRITE]
        if self._ring is None:
            return parts
        room = len(self._ring) - (self._end - self._kept_from)
        return parts if sum(map(len, parts)) <= room else _trimmed(parts, room)

    def receive_written(self, size: int) -> None:
        """So many bytes of `next_buffers` were written."""
        if self._written < self._end:
            self._written += size
            return
        for index, part in enumerate(self._parts):
            if size < len(part):
                del self._parts[:index]
                if size:
                    self._keep(memoryview(part)[:size])
                    self._parts[0] = memoryview(part)[size:]
                return
            self._keep(part)
            size -= len(part)
        self._parts.clear()

    @property
    def has_rest(self) -> bool:
        """Whether something is still to be written."""
        return self._written < self._end or bool(self._parts) or self._outbox.has_output

    def copy_rest(self) -> None:
        """Copy what belongs to the capture's ring, which is about to be given back."""
        if self._fresh and self._parts:
            self._parts = [bytes(part) if isinstance(part, memoryview) else part for part in self._parts]
        self._fresh = False
        self._outbox.keep()

    def _keep(self, part: Buffer) -> None:
        if self._ring is not None:
            at = self._end % len(self._ring)
            over = at + len(part) - len(self._ring)
            if over <= 0:
                self._ring[at : at + len(part)] = part
            else:
                self._ring[at:] = part[:-over]
                self._ring[:over] = part[-over:]
        self._end += len(part)
        self._written = self._end

    def _replayed(self) -> list[Buffer]:
        assert self._ring is not None, "what was not kept is not written again"
        at = self._written % len(self._ring)
        return [self._ring[at : at + self._end - self._written]]


def _trimmed(parts: list[Buffer], room: int) -> list[Buffer]:
    kept: list[Buffer] = []
    for part in parts:
        if len(part) >= room:
            return [*kept, memoryview(part)[:room]] if room else kept
        kept.append(part)
        room -= len(part)
    return kept
