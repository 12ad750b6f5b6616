"""A session that selects or redacts, and what a layer makes of its frames."""

from podmirror_agent.budget import Budget
from podmirror_agent.screen import Screen
from podmirror_http import redaction, selection
from podmirror_http.pairing import Body, Conversation, MessageEnded, RequestBegan, ResponseBegan
from podmirror_wire.frames import ConnectionFrame, Data, Ended, Gap, Omitted
from podmirror_wire.values import Direction, GapReason

KEY = bytes(range(32))
BOTH = {Direction.TO_RESPONDER: True, Direction.TO_INITIATOR: True}
GET = b"GET %s HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer SECRET-TOKEN\r\n\r\n"
OK = b"HTTP/1.1 %d Fine\r\nContent-Length: 2\r\n\r\nok"


def select_option(**given: list[str]) -> str:
    return selection.format_option(
        **{name: given.get(name, []) for name in ("methods", "paths", "fields", "statuses")}
    )


def redact_option(*rules: str) -> str:
    return redaction.format_option(KEY, list(rules))


class Passage:
    """Bytes of one connection on their way through a screen."""

    def __init__(self, *, select="", redact="", late=False, budget=1 << 30, sends=BOTH) -> None:
        self.budget = Budget(budget)
        self.screen = Screen(self.budget, sends)
        if select:
            self.screen.select(select)
        if redact:
            self.screen.redact(redact)
        self.screen.open(1, late=late)
        self.offsets = dict.fromkeys(Direction, 0)
        self.originals = dict.fromkeys(Direction, b"")
        self.frames: list[ConnectionFrame] = []

    def say(self, *steps: tuple[int, bytes]) -> "Passage":
        for side, payload in steps:
            direction = Direction(side)
            self._receive(Data(1, direction, self.offsets[direction], payload))
            self.offsets[direction] += len(payload)
            self.originals[direction] += payload
        return self

    def miss(self, side: int, length: int) -> "Passage":
        direction = Direction(side)
        self._receive(Gap(1, direction, self.offsets[direction], length, GapReason.MISSED))
        self.offsets[direction] += length
        self.originals[direction] += b"\0" * length
        return self

    def end(self, side: int) -> "Passage":
        self._receive(Ended(1, Direction(side), self.offsets[Direction(side)]))
        return self

    def close(self) -> "Passage":
        self.frames += [frame for _, frame in self.screen.close(1, 0)]
        return self

    def _receive(self, event) -> None:
        self.frames += [frame for _, frame in self.screen.receive_event(event, 0)]

    def kept(self, side: int) -> bytes:
        return b"".join(
            each.payload for each in self.frames if isinstance(each, Data) and each.direction == side
        )

    def left(self, side: int) -> int:
        return sum(
            each.length for each in self.frames if isinstance(each, Omitted) and each.direction == side
        )

    def check_offsets(self) -> None:
        """Every byte is in one frame, in order."""
        at = dict.fromkeys(Direction, 0)
        for frame in self.frames:
            assert isinstance(frame, Data | Omitted | Gap | Ended)
            assert frame.offset == at[frame.direction]
            if not isinstance(frame, Ended):
                at[frame.direction] += len(frame.payload) if isinstance(frame, Data) else frame.length
        assert at == self.offsets

    def whole(self) -> list[tuple[bytes, bytes, bytes, bytes]]:
        """Give the exchanges that a layer reads: heads and contents of those whose two messages ended."""
        reader = Conversation(late=False)
        events = []
        for frame in self.frames:
            if isinstance(frame, Data):
                events += reader.receive_data(frame.direction, frame.payload, 0)
            elif isinstance(frame, Omitted):
                events += reader.receive_omitted(frame.direction, frame.length, 0)
            elif isinstance(frame, Gap):
                events += reader.receive_gap(frame.direction, frame.length, 0)
        told = {}
        for number in {each.exchange for each in events if isinstance(each, MessageEnded)}:
            of = [each for each in events if getattr(each, "exchange", 0) == number]
            if sum(isinstance(each, MessageEnded) for each in of) < 2:
                continue
            heads = {
                type(each): each.head.raw for each in of if isinstance(each, RequestBegan | ResponseBegan)
            }
            bodies = [
                b"".join(each.content for each in of if isinstance(each, Body) and each.direction == side)
                for side in Direction
            ]
            told[number] = (heads[RequestBegan], bodies[0], heads[ResponseBegan], bodies[1])
        return [told[number] for number in sorted(told)]
