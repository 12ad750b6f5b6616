"""Reassembly of any segments at all, against a plain model of what a receiver and a lossy capture see."""

import itertools
from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st

from podmirror_agent.budget import OVERHEAD_BYTES, Budget
from podmirror_agent.stream import End, Hole, Piece, StreamEvent
from podmirror_wire.values import GapReason
from tests.agent.reassembly import PLENTY, begun, give, text
from tests.fuzzing import examples

start_sequences = st.integers(0, 2**32 - 1) | st.integers(2**32 - 300, 2**32 - 1)


# Any segments at all, against a model.

truths = st.binary(min_size=1, max_size=120)


@st.composite
def cuts(draw: st.DrawFn, size: int) -> list[tuple[int, int]]:
    """Segments (start, end) that together cover all of `size` bytes, with overlaps and duplicates, in any order."""
    edges = sorted({0, size, *draw(st.lists(st.integers(0, size), max_size=8))})
    cover = list(itertools.pairwise(edges))
    extra = draw(
        st.lists(st.tuples(st.integers(0, size), st.integers(0, size)).map(sorted).map(tuple), max_size=8)
    )
    return draw(st.permutations(cover + extra))


def contiguous(covered: set[int]) -> int:
    return next(position for position in itertools.count() if position not in covered)


@settings(max_examples=examples(150), deadline=None)
@given(truth=truths, sequence=start_sequences, data=st.data())
def test_segments_in_any_order_give_the_truth(truth, sequence, data):
    segments = data.draw(cuts(len(truth)))
    with_fin = data.draw(st.booleans())
    budget = Budget(PLENTY)
    stream = begun(sequence, budget)
    received: set[int] = set()
    events: list[StreamEvent] = []

    for start, end in segments:
        fin = with_fin and end == len(truth)
        events += give(stream, sequence + start, truth[start:end], fin=fin)
        received.update(range(start, end))
        acknowledged = contiguous(received)
        assert text(events) == truth[:acknowledged]
        if data.draw(st.booleans()):
            past_fin = acknowledged == len(truth) and stream.ended
            events += stream.receive_acknowledgment((sequence + acknowledged + past_fin) & 0xFFFFFFFF)

    assert text(events) == truth
    assert not any(isinstance(event, Hole) for event in events)
    assert [event for event in events if isinstance(event, End)] == [End(len(truth))] * with_fin
    assert budget.held == 0


@dataclass
class Model:
    """What a lossy capture can know, byte by byte."""

    captured: set[int] = field(default_factory=set)
    known: list[bool] = field(default_factory=list)
    """For each byte that was passed on, whether it was there."""
    acknowledged: int = 0
    fin: int | None = None

    def settle(self) -> None:
        """Pass on what can be: the last number that was acknowledged may have been that of a FIN."""
        while True:
            while len(self.known) in self.captured:
                self.known.append(True)
            limit = self.acknowledged
            if self.fin is not None:
                limit = min(limit, self.fin)
            elif not any(position > len(self.known) for position in self.captured):
                limit -= 1
            if len(self.known) >= limit:
                return
            self.known.append(False)


def by_byte(events: list[StreamEvent], truth: bytes) -> list[bool]:
    """Check that events follow one another without a seam, and give for each byte whether it was there."""
    known: list[bool] = []
    for event in events:
        assert event.offset == len(known)
        match event:
            case Piece(offset, payload):
                assert payload
                assert payload == truth[offset : offset + len(payload)]
                known += [True] * len(payload)
            case Hole(_, length, reason):
                assert length > 0
                assert reason is GapReason.MISSED
                known += [False] * length
            case End(offset):
                assert offset == len(truth)
    return known


@settings(max_examples=examples(150), deadline=None)
@given(truth=truths, sequence=start_sequences, data=st.data())
def test_holes_are_exactly_what_was_acknowledged_and_never_seen(truth, sequence, data):
    budget = Budget(PLENTY)
    stream = begun(sequence, budget)
    model = Model()
    delivered: set[int] = set()
    events: list[StreamEvent] = []
    with_fin = data.draw(st.booleans(), label="with FIN")
    fin_seen = False

    for start, end in data.draw(cuts(len(truth))):
        delivered.update(range(start, end))
        if data.draw(st.booleans(), label=f"captured {start}-{end}"):
            fin = end == len(truth) and with_fin
            fin_seen |= fin
            model.fin = end if fin else model.fin
            events += give(stream, sequence + start, truth[start:end], fin=fin)
            model.captured.update(range(start, end))
        if data.draw(st.booleans(), label="acknowledged"):
            acknowledged = contiguous(delivered)
            events += stream.receive_acknowledgment((sequence + acknowledged) & 0xFFFFFFFF)
            model.acknowledged = max(model.acknowledged, acknowledged)
        model.settle()
        assert by_byte(events, truth) == model.known

    events += stream.receive_acknowledgment((sequence + len(truth) + with_fin) & 0xFFFFFFFF)
    model.acknowledged = len(truth) + with_fin
    model.settle()
    assert by_byte(events, truth) == model.known
    if not fin_seen:
        assert len(model.known) >= len(truth) - 1
        if with_fin:
            assert stream.fin_missed or len(model.known) < len(truth)
            return
        events += stream.receive_reset_of_reverse()
        model.fin = len(truth)
        model.settle()
    assert by_byte(events, truth) == model.known
    assert len(model.known) == len(truth)
    assert stream.ended == fin_seen
    assert budget.held == 0


@settings(max_examples=examples(100), deadline=None)
@given(truth=truths, sequence=start_sequences, limit=st.integers(0, 4 * OVERHEAD_BYTES), data=st.data())
def test_any_budget_gives_every_byte_or_names_it(truth, sequence, limit, data):
    budget = Budget(limit)
    stream = begun(sequence, budget)
    events: list[StreamEvent] = []

    for start, end in data.draw(cuts(len(truth))):
        events += give(stream, sequence + start, truth[start:end])
        assert budget.held <= limit

    covered = 0
    for event in events:
        assert event.offset == covered
        if isinstance(event, Piece):
            assert event.payload == truth[covered : covered + len(event.payload)]
            covered += len(event.payload)
        else:
            assert event.reason is GapReason.BUDGET
            covered += event.length
    assert covered == len(truth)
    assert budget.held == 0


class LinuxReceiver:
    """tcp_data_queue and tcp_data_queue_ofo of net/ipv4/tcp_input.c, where all that can be coalesced is."""

    def __init__(self) -> None:
        self.read = b""
        self.queue: list[tuple[int, bytes]] = []

    def receive(self, start: int, payload: bytes) -> None:
        if start <= len(self.read):
            self._take(start, payload)
            while self.queue and self.queue[0][0] <= len(self.read):
                self._take(*self.queue.pop(0))
        elif payload:
            self._queue(start, payload)

    def _take(self, start: int, payload: bytes) -> None:
        self.read += payload[len(self.read) - start :]

    def _queue(self, start: int, payload: bytes) -> None:
        end = start + len(payload)
        before = max((index for index, (first, _) in enumerate(self.queue) if first <= start), default=None)
        if before is not None:
            first, other = self.queue[before]
            if end <= first + len(other):
                return  # all of it is there
            if first + len(other) == start:
                self.queue[before] = (first, other + payload)
                return
        kept = [
            (first, other)
            for first, other in self.queue
            if not (start <= first and first + len(other) <= end)
        ]
        self.queue = sorted([*kept, (start, payload)])


@settings(max_examples=examples(150), deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12)), min_size=1, max_size=12),
    start_sequences,
)
@example([(4, 4), (2, 4), (0, 2)], 0)
def test_conflicting_segments_are_read_as_linux_reads_them(segments, sequence):
    stream = begun(sequence)
    receiver = LinuxReceiver()
    events: list[StreamEvent] = []

    for number, (start, length) in enumerate(segments):
        payload = bytes((ord("a") + number,)) * length
        events += give(stream, sequence + start, payload)
        receiver.receive(start, payload)

        assert text(events) == receiver.read


@settings(max_examples=examples(200), deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**32 - 1) | st.integers(950, 1100),
            st.binary(max_size=20),
            st.booleans(),
            st.booleans(),
        ),
        max_size=15,
    ),
    st.integers(0, 3 * OVERHEAD_BYTES),
)
def test_arbitrary_segments_and_acknowledgments_keep_the_offsets_whole(steps, limit):
    budget = Budget(limit)
    stream = begun(1000, budget)
    events: list[StreamEvent] = []

    for number, payload, fin, is_segment in steps:
        events += (
            give(stream, number, payload, fin=fin) if is_segment else stream.receive_acknowledgment(number)
        )

    covered = 0
    for event in events:
        assert event.offset == covered
        covered += len(event.payload) if isinstance(event, Piece) else getattr(event, "length", 0)
    assert sum(isinstance(event, End) for event in events) <= 1
    stream.discard()
    assert budget.held == 0
