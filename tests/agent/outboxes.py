"""An outbox, the frames that are sent through it, and what it lets go."""

from podmirror_agent.budget import Budget
from podmirror_agent.outbox import Outbox
from podmirror_wire.decoder import Decoder
from podmirror_wire.frames import AnyFrame, Closed, Data, Opened
from podmirror_wire.values import CloseReason, Direction, Endpoint

TO_RESPONDER, TO_INITIATOR = Direction.TO_RESPONDER, Direction.TO_INITIATOR
PLENTY = 1 << 30


def make(window: int = 100, budget: Budget | None = None, **limits: int) -> Outbox:
    return Outbox(budget or Budget(PLENTY), window=window, **limits)


def opened(number: int) -> Opened:
    return Opened(number, False, Endpoint("10.0.0.1", 40000), Endpoint("10.0.0.2", 80), 1, "eth0")


def data(number: int, offset: int, payload: bytes) -> Data:
    return Data(number, TO_RESPONDER, offset, payload)


def closed(number: int, reason: CloseReason = CloseReason.FINISHED, unsent: int = 0) -> Closed:
    return Closed(number, reason, unsent)


def taken(outbox: Outbox) -> list[AnyFrame]:
    """Take all that may go now."""
    decoder = Decoder()
    frames: list[AnyFrame] = []
    while output := outbox.take_output():
        frames += decoder.receive_data(b"".join(output))
    return frames


def send_for(outbox: Outbox, *frames: AnyFrame) -> None:
    for frame in frames:
        outbox.send_for(frame)
