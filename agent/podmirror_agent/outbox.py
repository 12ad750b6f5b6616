"""What is on its way to one layer: which frames may go now, which must wait, and which are given up.

Theory of operation. Each mirrored connection has a credit in payload bytes, which the layer renews as its local process
reads. Frames of a connection that has no credit wait in a queue of its own, so that a slow local process stalls only itself.
All frames wait there, too, while the tunnel does not keep up (`output` is over its high-water mark); they leave in turns, a
frame of each connection at a time. Waiting bytes are taken from the agent's budget. When that is used up, or one connection's
queue is over its own limit, a connection is cut: what waited for it is counted and dropped, and the layer is told.

The usual case is shorter: a run of bytes for a connection of which nothing waits, with credit and a tunnel that keeps up, goes
straight to the output, as a header and the pieces as they were captured. Those may be parts of the capture's ring, so whoever
gives a block of it back calls `keep` first.
"""

import struct
from collections import deque
from collections.abc import Callable

from podmirror_agent.budget import OVERHEAD_BYTES, Budget
from podmirror_agent.fastpath import LARGE_BYTES, Run
from podmirror_wire.codec import HEADER
from podmirror_wire.frames import (
    MAX_DATA_BYTES,
    AnyFrame,
    Closed,
    ConnectionFrame,
    Data,
    Omitted,
    Opened,
)
from podmirror_wire.values import CloseReason, Direction

MAX_WAITING_BYTES = 12 << 20
"""Per connection: all that was parked behind a hole (`stream.MAX_PARKED_BYTES`) comes at once when that is filled, and a local
process in a debugger may stop for a while and lose nothing of a request of some megabytes."""

HIGH_WATER_BYTES = 1 << 20
"""Encoded output that may be ready at a time: several round trips of a fast tunnel."""

PACKETS_SHARE = 4
"""Packets for capture files take at most this part (a quarter) of the agent's budget, so that they never cost a connection."""

MAX_OUTPUT_BYTES = 2 * HIGH_WATER_BYTES
"""Output beyond which connections that must be cut before the layer has heard of them are told of in the ledger alone."""

MAX_ASKED_BYTES = 2 * MAX_OUTPUT_BYTES
"""Output beyond which a layer may ask for nothing more: else its pings alone could take any amount of memory."""

_HEADER = struct.Struct(HEADER.format + Data.FIXED.format.lstrip("!"))
"""Of a data frame, length prefix and kind included."""


class _Queue:
    """The frames of one connection."""

    __slots__ = ("charged", "closing", "credit", "dismissed", "frames", "waiting_bytes")

    def __init__(self, credit: int) -> None:
        self.credit: int = credit
        self.frames: deque[ConnectionFrame] = deque()
        self.closing = False
        self.dismissed = False
        """Whether the layer wants only the number of bytes."""
        self.waiting_bytes: int = 0
        """Payload bytes."""
        self.charged: int = 0
        """Taken from the budget: the payload, and what each frame costs besides."""


class Outbox:
    """Orders the frames for one layer."""

    def __init__(
        self,
        budget: Budget,
        *,
        window: int,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
        high_water_bytes: int = HIGH_WATER_BYTES,
    ) -> None:
        """Set the limits; `window` is the credit that a connection starts with, in payload bytes."""
        self._budget = budget
        self.window = window
        """Credit that a connection starts with."""
        self._max_waiting_bytes = max_waiting_bytes
        self._high_water_bytes = high_water_bytes
        self._queues: dict[int, _Queue] = {}
        self._ready: dict[int, None] = {}
        """Connections with frames that only the high-water mark holds back, in turn."""
        self._output: list[bytes | memoryview] = []
        self._output_bytes: int = 0
        self._views: int = 0
        """How many parts of the output belong to the capture's ring."""
        self._packets: deque[bytes] = deque()
        """Encoded frames that wait for the tunnel."""
        self._packets_charged: int = 0
        self.cut_connections: int = 0
        self.cut_bytes: int = 0
        budget.keepers.append(self)

    def send(self, frame: AnyFrame) -> None:
        """Put a frame of the session itself into the output."""
        self._emit(frame)

    def send_packet(self, encoded: bytes) -> bool:
        """Put an encoded packet frame into the output, or let it wait; False, and nothing done, if there is no room for it."""
        if not self._packets and self._output_bytes < self._high_water_bytes:
            self._output.append(encoded)
            self._output_bytes += len(encoded)
            return True
        charge = len(encoded) + OVERHEAD_BYTES
        if self._packets_charged + charge > self._budget.limit // PACKETS_SHARE or not self._budget.take(
            charge
        ):
            return False
        self._packets_charged += charge
        self._packets.append(encoded)
        return True

    def send_for(self, frame: ConnectionFrame) -> None:
        """Put a frame of a connection into the output, or let it wait.

        Frames of a connection that was cut are dropped, and their bytes are counted as cut.
        """
        if isinstance(frame, Opened) and frame.connection not in self._queues:
            self._queues[frame.connection] = _Queue(self.window)
        queue = self._queues.get(frame.connection)
        if queue is None:
            self.cut_bytes += _payload_bytes(frame)
            return
        if queue.closing:
            return
        if queue.dismissed:
            frame = _without_payload(frame)
        if not queue.frames and self._output_bytes < self._high_water_bytes:
            size = _payload_bytes(frame)
            if size <= queue.credit and size <= MAX_DATA_BYTES:
                queue.credit -= size
                self._emit(frame)
                if isinstance(frame, Closed):
                    del self._queues[frame.connection]
                return
        if _extends_last(queue, frame):
            return
        if self._make_room(frame, queue):
            queue.frames.append(frame)
            queue.closing = isinstance(frame, Closed)
            self._ready[frame.connection] = None
            self._flow()

    def send_run(self, run: Run) -> None:
        """Do the same with a run of wanted bytes, which were not yet joined."""
        stream = run.stream
        queue = self._queues.get(stream.connection)
        size = run.length
        if queue is None:
            self.cut_bytes += size
            return
        if (
            queue.frames
            or queue.closing
            or queue.dismissed
            or queue.credit < size
            or size > MAX_DATA_BYTES
            or self._output_bytes >= self._high_water_bytes
        ):
            payload = b"".join(run.pieces)
            self.send_for(Data(stream.connection, stream.direction, run.offset, payload))
            return
        queue.credit -= size
        header = _HEADER.pack(
            1 + Data.FIXED.size + size, Data.KIND, stream.connection, stream.direction, run.offset
        )
        if size < LARGE_BYTES:
            self._output.append(b"".join((header, *run.pieces)))
        else:
            self._output.append(header)
            self._output += run.pieces
            self._views += len(run.pieces)
        self._output_bytes += len(header) + size

    def send_omitted(self, connection: int, direction: Direction, offset: int, length: int) -> None:
        """Do the same with bytes that are not wanted."""
        self.send_for(Omitted(connection, direction, offset, length))

    def keep(self) -> None:
        """Copy what belongs to the capture's ring, which is about to be given back."""
        if self._views:
            self._output = [bytes(part) if isinstance(part, memoryview) else part for part in self._output]
            self._views = 0

    def dismiss(self, connection: int) -> None:
        """Send no more payload of a connection, only the number of its bytes."""
        queue = self._queues.get(connection)
        if queue is None or queue.dismissed:
            return
        queue.dismissed = True
        waiting, queue.frames = queue.frames, deque()
        for frame in waiting:
            payload = _payload_bytes(frame)
            queue.waiting_bytes -= payload
            if _extends_last(queue, bare := _without_payload(frame)):
                payload += OVERHEAD_BYTES
            else:
                queue.frames.append(bare)
            queue.charged -= payload
            self._budget.give(payload)
        if queue.frames:
            self._ready[connection] = None
            self._flow()

    def is_dismissed(self, connection: int) -> bool:
        """Whether the layer wants no bytes of a connection, or cannot have them any more."""
        queue = self._queues.get(connection)
        return queue is None or queue.dismissed

    @property
    def is_flooded(self) -> bool:
        """Whether more is ready than packets alone can make ready: the layer asks for more than it reads."""
        return self._output_bytes > MAX_ASKED_BYTES

    @property
    def has_output(self) -> bool:
        """Whether `take_output` has something to give."""
        return bool(self._output)

    def receive_credit(self, connection: int, size: int) -> None:
        """Take the layer's leave to send `size` more payload bytes of a connection."""
        queue = self._queues.get(connection)
        if queue is not None:
            queue.credit += size
            if queue.frames:
                self._ready[connection] = None
                self._flow()

    def take_output(self) -> list[bytes | memoryview]:
        """Give the encoded frames to write now, in parts; more may become ready by that."""
        output, self._output = self._output, []
        self._output_bytes = 0
        self._views = 0
        if self._ready or self._packets:
            self._flow()
        return output

    def close_all(self, which: Callable[[int], bool], reason: CloseReason) -> None:
        """Close the connections of that description after what already waits for them."""
        for connection in [number for number in self._queues if which(number)]:
            self.send_for(Closed(connection, reason, 0))

    def discard(self) -> None:
        """Drop everything; the layer is gone."""
        for queue in self._queues.values():
            self._budget.give(queue.charged)
        self._budget.give(self._packets_charged)
        self._packets_charged = 0
        self._packets.clear()
        self._queues.clear()
        self._ready.clear()
        self._output.clear()
        self._budget.keepers.remove(self)

    @property
    def most_kept(self) -> int:
        """What waits for the connection of which most does, in bytes of the budget."""
        return self._largest().charged if self._queues else 0

    def give_up_most(self) -> None:
        """Cut that connection."""
        self._cut_waiting(self._largest())

    @property
    def waiting_bytes(self) -> int:
        """Payload bytes that wait for credit or for the tunnel."""
        return sum(queue.waiting_bytes for queue in self._queues.values())

    @property
    def backlog_bytes(self) -> int:
        """All that waits: payload, what each frame costs besides, and output that was not taken yet."""
        return (
            self._output_bytes + self._packets_charged + sum(queue.charged for queue in self._queues.values())
        )

    def _make_room(self, frame: ConnectionFrame, queue: _Queue) -> bool:
        payload = _payload_bytes(frame)
        charge = payload + OVERHEAD_BYTES
        if queue.charged + charge > self._max_waiting_bytes:
            self._cut(frame, queue, payload)
            return False
        while not self._budget.take(charge):
            largest = self._largest()
            if largest is queue or not largest.charged:
                self._cut(frame, queue, payload)
                return False
            self._cut_waiting(largest)
        queue.charged += charge
        queue.waiting_bytes += payload
        return True

    def _largest(self) -> _Queue:
        """Give the queue for which most is taken from the budget."""
        return max(self._queues.values(), key=lambda each: each.charged)

    def _cut_waiting(self, queue: _Queue) -> None:
        """Give up a connection of which frames wait."""
        self._cut(queue.frames[0], queue, 0)

    def _cut(self, frame: ConnectionFrame, queue: _Queue, refused: int) -> None:
        """Give up the connection of a frame, with all that waits for it and `refused` bytes that could not even wait."""
        self._budget.give(queue.charged)
        unsent = queue.waiting_bytes + refused
        self.cut_connections += 1
        self.cut_bytes += unsent
        first = queue.frames[0] if queue.frames else frame
        announced = not isinstance(first, Opened)
        if announced or self._output_bytes < MAX_OUTPUT_BYTES:
            if not announced:
                self._emit(first)
            self._emit(Closed(frame.connection, CloseReason.CUT, unsent))
        # Else the layer hears of it in the ledger alone: its frames would pile up here without a bound.
        del self._queues[frame.connection]
        self._ready.pop(frame.connection, None)

    def _flow(self) -> None:
        while (self._ready or self._packets) and self._output_bytes < self._high_water_bytes:
            if self._packets:
                self._send_waiting_packet()
            if not self._ready:
                continue
            connection = next(iter(self._ready))
            del self._ready[connection]
            queue = self._queues[connection]
            sent = self._send_one(queue)
            if isinstance(sent, Closed):
                del self._queues[connection]
            elif sent is not None and queue.frames:
                self._ready[connection] = None

    def _send_waiting_packet(self) -> None:
        encoded = self._packets.popleft()
        charge = len(encoded) + OVERHEAD_BYTES
        self._packets_charged -= charge
        self._budget.give(charge)
        self._output.append(encoded)
        self._output_bytes += len(encoded)

    def _send_one(self, queue: _Queue) -> ConnectionFrame | None:
        """Send the first frame of the queue, or as much of it as the credit allows; None if that is nothing."""
        frame = queue.frames[0]
        size = min(_payload_bytes(frame), MAX_DATA_BYTES)
        if isinstance(frame, Data):
            size = min(size, queue.credit)
            if not size:
                return None
            if size < len(frame.payload):
                queue.frames[0] = Data(
                    frame.connection, frame.direction, frame.offset + size, frame.payload[size:]
                )
                frame = Data(frame.connection, frame.direction, frame.offset, frame.payload[:size])
                self._settle(queue, size, size)
                self._emit(frame)
                return frame
        queue.frames.popleft()
        self._settle(queue, size, size + OVERHEAD_BYTES)
        self._emit(frame)
        return frame

    def _settle(self, queue: _Queue, payload: int, charge: int) -> None:
        queue.credit -= payload
        queue.waiting_bytes -= payload
        queue.charged -= charge
        self._budget.give(charge)

    def _emit(self, frame: AnyFrame) -> None:
        encoded = frame.encode()
        self._output.append(encoded)
        self._output_bytes += len(encoded)


def _payload_bytes(frame: ConnectionFrame) -> int:
    return len(frame.payload) if isinstance(frame, Data) else 0


def _without_payload(frame: ConnectionFrame) -> ConnectionFrame:
    if isinstance(frame, Data):
        return Omitted(frame.connection, frame.direction, frame.offset, len(frame.payload))
    return frame


def _extends_last(queue: _Queue, frame: ConnectionFrame) -> bool:
    """Whether the frame went into the last one that waits: bytes nobody wants need no second frame."""
    if not queue.frames or not isinstance(frame, Omitted):
        return False
    last = queue.frames[-1]
    if not isinstance(last, Omitted) or last.direction is not frame.direction:
        return False
    queue.frames[-1] = Omitted(last.connection, last.direction, last.offset, last.length + frame.length)
    return True
