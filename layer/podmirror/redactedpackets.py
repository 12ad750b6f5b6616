"""Redacted packets: headers as they were captured, and behind them what redaction left of the payload.

Theory of operation. The agent cuts packets behind their headers before they leave the pod, and names the place of what was cut:
connection, direction, offset. The same bytes come as the connection's own frames, redacted, each value as long as it was. So a
packet waits here until its connection's frames have come so far, and is filled from them. Where they name bytes as omitted or
missed, the packet stays cut from there on, and is counted.

Packets leave in the order in which they came. One that waits holds up those behind it, but none for longer than a limit, after
which it is given as far as it could be filled. The connections' bytes are kept for a while, for retransmissions.
"""

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, replace
from typing import NamedTuple

from podmirror_wire.frames import Closed, ConnectionFrame, Data, Ended, Gap, Omitted, Opened, Packet
from podmirror_wire.values import Direction

WAIT_SECONDS = 5.0
"""For the bytes of a packet: an exchange may be held in the agent until its answer has come, for the filters to judge."""

KEEP_SECONDS = 10.0
"""Bytes are kept, for packets that come later than their bytes, and for retransmissions, the fifth of which Linux sends some
six seconds after the first packet (a fifth of a second, doubled each time)."""

MAX_WAITING_BYTES = 32 << 20
"""Of packets; more than the agent sends in a second through a usual tunnel."""

MAX_KEPT_BYTES = 64 << 20
"""Of all connections' bytes."""

_OVERHEAD_BYTES = 512
"""What each packet and each piece costs besides its bytes, rounded up."""

_COMPACTED = 256
"""Pieces that are forgotten before the list of a flow is made anew."""


@dataclass(slots=True)
class PacketCounts:
    """What became of packets."""

    filled: int = 0
    """TCP packets that are whole again."""
    cut: int = 0
    """TCP packets some of whose payload is left out."""
    cut_bytes: int = 0
    """Payload that is left out of those."""
    others_cut: int = 0
    """Packets of which only headers came: no TCP, or of no connection that is known."""


class _Waiting(NamedTuple):
    packet: Packet
    deadline: float


class _Flow:
    """One direction of a connection: what was told of it."""

    __slots__ = ("forgotten", "over", "pieces", "starts", "told")

    def __init__(self) -> None:
        self.told = 0
        """Offset up to which it is known what came."""
        self.over = False
        self.starts: list[int] = []
        self.pieces: list[bytes] = []
        self.forgotten = 0
        """Pieces at the beginning of those lists that are gone."""

    def add(self, offset: int, payload: bytes) -> None:
        self.starts.append(offset)
        self.pieces.append(payload)

    def forget_first(self) -> int:
        """Forget the oldest piece, and give its size."""
        size = len(self.pieces[self.forgotten])
        self.pieces[self.forgotten] = b""
        self.forgotten += 1
        if self.forgotten >= _COMPACTED and self.forgotten * 2 >= len(self.pieces):
            del self.starts[: self.forgotten], self.pieces[: self.forgotten]
            self.forgotten = 0
        return size

    def read(self, offset: int, length: int) -> bytes:
        """Give the bytes from an offset on, up to the first that is not there."""
        index = bisect_right(self.starts, offset) - 1
        found: list[bytes] = []
        while length and self.forgotten <= index < len(self.pieces):
            part = self.pieces[index][offset - self.starts[index] :][:length] if index >= 0 else b""
            if not part or self.starts[index] > offset:
                break
            found.append(part)
            offset += len(part)
            length -= len(part)
            index += 1
        return b"".join(found)


class RedactedPackets:
    """Fills the packets of one pod."""

    def __init__(
        self,
        *,
        wait_seconds: float = WAIT_SECONDS,
        keep_seconds: float = KEEP_SECONDS,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
        max_kept_bytes: int = MAX_KEPT_BYTES,
        snaplen: int | None = None,
    ) -> None:
        """Set the limits; `snaplen` is how many bytes of a packet are wanted at most, None for all."""
        self.counts = PacketCounts()
        self._wait_seconds = wait_seconds
        self._keep_seconds = keep_seconds
        self._max_waiting_bytes = max_waiting_bytes
        self._max_kept_bytes = max_kept_bytes
        self._snaplen = snaplen
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._flows: dict[tuple[int, Direction], _Flow] = {}
        self._kept: deque[tuple[float, _Flow]] = deque()
        """When each piece came, oldest first, and of which flow it is."""
        self._kept_bytes = 0
        self._over: deque[tuple[float, int]] = deque()
        """When each connection ended that is still known."""

    @property
    def held_bytes(self) -> int:
        """What everything here takes."""
        return self._waiting_bytes + self._kept_bytes

    def receive_packet(self, packet: Packet, now: float) -> list[Packet]:
        """Take a packet that was cut behind its headers, and give those that are ready; `now` is monotonic, in seconds."""
        self._waiting.append(_Waiting(packet, now + self._wait_seconds))
        self._waiting_bytes += len(packet.packet) + _OVERHEAD_BYTES
        return self._ready(now)

    def receive_frame(self, frame: ConnectionFrame, now: float) -> list[Packet]:
        """Take what is told of a connection, and give the packets that are ready."""
        match frame:
            case Opened():
                for direction in Direction:
                    self._flows[frame.connection, direction] = _Flow()
            case Data():
                self._keep(frame, now)
            case Omitted() | Gap():
                self._tell(frame.connection, frame.direction, frame.offset + frame.length)
            case Ended():
                self._tell(frame.connection, frame.direction, frame.offset)
            case Closed():
                for direction in Direction:
                    self._flow(frame.connection, direction).over = True
                self._over.append((now, frame.connection))
        return self._ready(now)

    def expire(self, now: float) -> list[Packet]:
        """Give the packets that have waited for too long, and forget what was kept for too long."""
        ready = self._ready(now)
        while self._kept and (
            self._kept[0][0] + self._keep_seconds <= now or self._kept_bytes > self._max_kept_bytes
        ):
            self._forget_piece()
        while self._over and self._over[0][0] + self._keep_seconds <= now:
            _, connection = self._over.popleft()
            for direction in Direction:
                self._flows.pop((connection, direction), None)
        return ready

    def finish(self) -> list[Packet]:
        """Give all packets that still wait, as they stand: nothing more will come."""
        return [self._release() for _ in range(len(self._waiting))]

    def _flow(self, connection: int, direction: Direction) -> _Flow:
        return self._flows.setdefault((connection, direction), _Flow())

    def _tell(self, connection: int, direction: Direction, until: int) -> None:
        flow = self._flow(connection, direction)
        flow.told = max(flow.told, until)

    def _keep(self, data: Data, now: float) -> None:
        flow = self._flow(data.connection, data.direction)
        self._tell(data.connection, data.direction, data.offset + len(data.payload))
        flow.add(data.offset, data.payload)
        self._kept.append((now, flow))
        self._kept_bytes += len(data.payload) + _OVERHEAD_BYTES
        while self._kept_bytes > self._max_kept_bytes:
            self._forget_piece()

    def _forget_piece(self) -> None:
        _, flow = self._kept.popleft()
        self._kept_bytes -= flow.forget_first() + _OVERHEAD_BYTES

    def _ready(self, now: float) -> list[Packet]:
        ready: list[Packet] = []
        while self._waiting and (
            self._is_decided(self._waiting[0].packet)
            or self._waiting[0].deadline <= now
            or self._waiting_bytes > self._max_waiting_bytes
        ):
            ready.append(self._release())
        return ready

    def _is_decided(self, packet: Packet) -> bool:
        if not packet.connection or not packet.payload:
            return True
        flow = self._flows.get((packet.connection, packet.direction))
        return flow is not None and (flow.over or packet.offset + packet.payload <= flow.told)

    def _release(self) -> Packet:
        packet, _ = self._waiting.popleft()
        self._waiting_bytes -= len(packet.packet) + _OVERHEAD_BYTES
        if not packet.connection:
            self.counts.others_cut += len(packet.packet) < packet.length
            return packet
        if not packet.payload:
            return packet
        flow = self._flows.get((packet.connection, packet.direction))
        wanted = packet.payload
        if self._snaplen is not None:
            wanted = min(wanted, max(self._snaplen - len(packet.packet), 0))
        payload = flow.read(packet.offset, wanted) if flow is not None else b""
        missing = wanted - len(payload)
        if missing:
            self.counts.cut += 1
            self.counts.cut_bytes += missing
        else:
            self.counts.filled += 1
        return replace(packet, packet=packet.packet + payload) if payload else packet
