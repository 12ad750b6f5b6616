"""Whole conversations, treated as networks and busy machines treat them: what is told is the truth, or names its holes.

Both directions are cut, cut again for retransmission, reordered, repeated, lost on the way and missed by the capture, with
sequence numbers that wrap. A plain model says, byte by byte, what a capture can know that saw just these packets.
`make fuzz N=1000000 SEED=7` runs as many conversations, from that seed.
"""

import itertools
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from podmirror_agent.connections import SILENCE_SECONDS
from podmirror_agent.table import TOMBSTONE_BYTES
from podmirror_wire.frames import AnyFrame, Closed, Data, Ended, Gap, Opened
from podmirror_wire.values import CloseReason, Direction, GapReason
from tests.agent.packets import CLIENT, POD, End, Talk
from tests.agent.pairs import CLIENT_V6, POD_V6, Pair, passing
from tests.fuzzing import examples

CONVERSATIONS = 400
MAX_BYTES = 60

pytestmark = pytest.mark.hypothesis  # so that `make fuzz` runs it


@dataclass
class Side:
    """What one end sends: its bytes, what of them has arrived at the other end, and what the capture has seen of them."""

    end: End
    truth: bytes
    first: int
    """Sequence number of the first byte."""
    arrived: set[int] = field(default_factory=set)
    fin_arrived: bool = False

    # What the capture can know.
    captured: set[int] = field(default_factory=set)
    acknowledged: int = 0
    fin_captured: bool = False
    known: list[bool] = field(default_factory=list)
    """For each byte that must have been told, whether it was there."""

    @property
    def received(self) -> int:
        """What the other end acknowledges: all that came in one piece, and the FIN behind it."""
        count = 0
        while count in self.arrived:
            count += 1
        return count + (self.fin_arrived and count == len(self.truth))

    def settle(self) -> None:
        while True:
            while len(self.known) in self.captured:
                self.known.append(True)
            limit = self.acknowledged
            if self.fin_captured:
                limit = min(limit, len(self.truth))
            elif not any(position > len(self.known) for position in self.captured):
                limit -= 1  # it may have been a FIN that was missed
            if len(self.known) >= limit:
                return
            self.known.append(False)


class Conversation:
    """A conversation that takes its course, and what is told of it."""

    def __init__(self, chosen: random.Random) -> None:
        self.chosen = chosen
        addresses = chosen.choice([(CLIENT, POD), (CLIENT_V6, POD_V6)])
        starts = [
            chosen.choice([chosen.randrange(1 << 32), (1 << 32) - chosen.randrange(1, 80)]) for _ in range(2)
        ]
        ends = [End(addresses[0], 40000, starts[0]), End(addresses[1], 80, starts[1])]
        self.talk = Talk(*ends)
        self.sides = [
            Side(end, chosen.randbytes(chosen.randrange(MAX_BYTES)), end.next + 1 & 0xFFFFFFFF)
            for end in ends
        ]
        self.missed = chosen.choice([0.0, 0.0, 0.05, 0.3])
        """Share of the packets that the capture does not see."""
        self.lost = chosen.choice([0.0, 0.1, 0.4])
        """Share of the packets that do not arrive."""
        self.pair = Pair()
        self.block: list[object] = []

    def run(self) -> None:
        syn, syn_ack, ack = self.talk.handshake()
        self.pair.see(passing(syn), passing(syn_ack))
        if self.chosen.random() < 0.8:
            self.pair.see(passing(ack))
        plans = {which: self.plan(side) for which, side in enumerate(self.sides)}
        while plans:
            which = self.chosen.choice(list(plans))
            step = next(plans[which], None)
            if step is None:
                del plans[which]
                continue
            self.transmit(which, *step)
            if self.chosen.random() < 0.3:
                self.show()
        for which in (0, 1):  # each hears of the other's end
            self.transmit(which, 0, 0, fin=False)
        self.show()
        self.check()
        self.pair.wait(SILENCE_SECONDS)
        self.check_end()

    def plan(self, side: Side) -> Iterator[tuple[int, int, bool]]:
        """Say what is sent, and in which order it passes the capture: (start, end, with a FIN)."""
        size = len(side.truth)
        edges = sorted({0, size, *(self.chosen.randrange(size + 1) for _ in range(self.chosen.randrange(6)))})
        sent = [(start, end, end == size) for start, end in itertools.pairwise(edges)] or [(0, 0, True)]
        for _ in range(self.chosen.randrange(5)):  # again, and cut otherwise
            start, end = sorted(self.chosen.randrange(size + 1) for _ in range(2))
            sent.insert(
                self.chosen.randrange(len(sent) + 1), (start, end, end == size and self.chosen.random() < 0.5)
            )
        for _ in range(self.chosen.randrange(4)):
            place = self.chosen.randrange(len(sent))
            other = min(place + self.chosen.randrange(1, 3), len(sent) - 1)
            sent[place], sent[other] = sent[other], sent[place]
        yield from sent
        while side.received < size + 1:  # what did not arrive is sent again
            start = min(side.received, size)
            yield start, size, True

    def transmit(self, which: int, start: int, end: int, fin: bool) -> None:
        """Let a packet pass the capture, and perhaps arrive."""
        side, other = self.sides[which], self.sides[1 - which]
        acknowledgment = other.received
        segment = self.talk.segment(
            side.end,
            "FA" if fin else "A",
            side.truth[start:end],
            sequence=side.first + start if end > start or fin else side.end.next,
            acknowledgment=other.first + acknowledgment,
        )
        # Behind the capture stands the pod's kernel: what comes to the pod arrives, what leaves it may be lost.
        if which == 0 or self.chosen.random() >= self.lost:
            side.arrived.update(range(start, end))
            side.fin_arrived |= fin
        if self.chosen.random() < self.missed:
            return
        self.block.append(passing(segment))
        if self.chosen.random() < 0.05:
            self.block.append(passing(segment))
        if end > start or fin:
            side.captured.update(range(start, end))
            side.fin_captured |= fin
        other.acknowledged = max(other.acknowledged, acknowledgment)
        other.settle()
        side.settle()

    def show(self) -> None:
        self.pair.see(*self.block)
        self.block.clear()

    @property
    def frames(self) -> list[AnyFrame]:
        fast, careful = self.pair.told
        assert fast == careful
        return fast.get(1, [])

    def check(self) -> None:
        frames = self.frames
        if not frames:  # it was not seen that the handshake ended
            return
        assert isinstance(frames[0], Opened)
        for which, side in enumerate(self.sides):
            assert told(frames, Direction(which), side.truth) == side.known

    def check_end(self) -> None:
        """Whatever was missed, a conversation of which both ends are known is told to its end."""
        self.check()
        frames = self.frames
        if not frames or not isinstance(frames[-1], Closed):
            return
        assert all(budget.held == TOMBSTONE_BYTES for budget in self.pair.budgets)
        if frames[-1].reason is CloseReason.END_MISSED:
            assert any(not side.fin_captured for side in self.sides)
            return
        assert frames[-1].reason is CloseReason.FINISHED
        for which, side in enumerate(self.sides):
            assert len(told(frames, Direction(which), side.truth)) == len(side.truth)
            assert Ended(1, Direction(which), len(side.truth)) in frames


def told(frames: list[AnyFrame], direction: Direction, truth: bytes) -> list[bool]:
    """Check that what was told of a direction is true and without a seam, and give for each byte whether it was there."""
    known: list[bool] = []
    for frame in frames:
        if getattr(frame, "direction", None) is not direction:
            continue
        assert frame.offset == len(known)
        if isinstance(frame, Data):
            assert frame.payload == truth[frame.offset : frame.offset + len(frame.payload)]
            known += [True] * len(frame.payload)
        elif isinstance(frame, Gap):
            assert frame.reason is GapReason.MISSED
            known += [False] * frame.length
    assert len(known) <= len(truth)
    return known


@pytest.mark.timeout(0)
def test_conversations_are_told_as_they_were_or_with_their_holes() -> None:
    first = int(os.environ.get("PODMIRROR_FUZZ_SEED", "0")) << 32
    for number in range(examples(CONVERSATIONS)):
        try:
            Conversation(random.Random(first + number)).run()
        except AssertionError as error:
            error.add_note(f"conversation {number} of seed {first >> 32}")
            raise
