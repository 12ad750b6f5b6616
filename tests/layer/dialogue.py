"""A dialogue with a forwarding: frames of one connection, and the steps that it answers in short words."""

from podmirror.forwarding import (
    Begin,
    Dismiss,
    Finish,
    Forwarding,
    HalfClose,
    Outcome,
    Pass,
    Reset,
    Step,
    Write,
)
from podmirror_wire.values import CloseReason, Direction
from tests.layer.frames import Talk

TLS_HELLO = bytes.fromhex("16 03 01 02 00 01 00 01 fc 03 03")
BEGIN, HALF_CLOSE, FINISH, RESET, DISMISS = "begin", "half-close", "finish", "reset", "dismiss"


def told(steps: list[Step]) -> list[object]:
    """Give steps in short: a write as its bytes, a pass as its size."""
    words: list[object] = []
    for step in steps:
        match step:
            case Begin():
                words.append(BEGIN)
            case Write():
                words.append(step.payload)
            case HalfClose():
                words.append(HALF_CLOSE)
            case Finish():
                words.append(FINISH)
            case Reset():
                words.append(RESET)
            case Dismiss():
                words.append(DISMISS)
            case Pass():
                words.append(step.size)
    return words


class Dialogue:
    """A forwarding, and the connection that is told to it."""

    def __init__(self, *, late: bool = False, **options: str) -> None:
        self.talk = Talk(late=late)
        self.forwarding = Forwarding(self.talk.opened(), **options)

    def give(self, *frames) -> list[object]:
        return told([step for frame in frames for step in self.forwarding.receive_frame(frame)])

    def says(self, payload: bytes) -> list[object]:
        return self.give(self.talk.says(payload))

    def answers(self, payload: bytes = b"yes") -> list[object]:
        return self.give(self.talk.answers(payload))

    def omits(self, length: int = 100, direction: Direction = Direction.TO_INITIATOR) -> list[object]:
        return self.give(self.talk.omits(length, direction))

    def misses(self, length: int = 50, direction: Direction = Direction.TO_RESPONDER) -> list[object]:
        return self.give(self.talk.misses(length, direction))

    def ends(self, direction: Direction = Direction.TO_RESPONDER) -> list[object]:
        return self.give(self.talk.ends(direction))

    def closes(self, reason: CloseReason = CloseReason.FINISHED, *, unsent: int = 0) -> list[object]:
        return self.give(self.talk.closes(reason, unsent=unsent))

    @property
    def outcome(self) -> Outcome:
        return self.forwarding.outcome
