"""One direction of a connection, begun and given segments."""

from podmirror_agent.budget import Budget
from podmirror_agent.stream import Piece, Stream, StreamEvent

PLENTY = 1 << 30


def begun(sequence: int = 1000, budget: Budget | None = None, **limits: int) -> Stream:
    stream = Stream(budget or Budget(PLENTY), **limits)
    stream.begin(sequence)
    return stream


def give(stream: Stream, sequence: int, payload: bytes = b"", *, fin: bool = False) -> list[StreamEvent]:
    return stream.receive_segment(sequence & 0xFFFFFFFF, payload, len(payload), fin=fin)


def text(events: list[StreamEvent]) -> bytes:
    return b"".join(event.payload for event in events if isinstance(event, Piece))
