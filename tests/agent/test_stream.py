"""Reassembly of one direction, against a plain model of what a receiver and a lossy capture see."""

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from podmirror_agent.budget import OVERHEAD_BYTES, Budget
from podmirror_agent.stream import (
    MAX_PARKED_BYTES,
    MAX_WINDOW,
    End,
    Hole,
    Piece,
    Stream,
    StreamEvent,
    distance,
)
from podmirror_wire.values import GapReason

PLENTY = 1 << 30

start_sequences = st.integers(0, 2**32 - 1) | st.integers(2**32 - 300, 2**32 - 1)


def begun(sequence: int = 1000, budget: Budget | None = None, **limits: int) -> Stream:
    stream = Stream(budget or Budget(PLENTY), **limits)
    stream.begin(sequence)
    return stream


def give(stream: Stream, sequence: int, payload: bytes = b"", *, fin: bool = False) -> list[StreamEvent]:
    return stream.receive_segment(sequence & 0xFFFFFFFF, payload, len(payload), fin=fin)


def text(events: list[StreamEvent]) -> bytes:
    return b"".join(event.payload for event in events if isinstance(event, Piece))


# Sequence space.


@pytest.mark.parametrize(
    ("later", "earlier", "expected"),
    [
        (0, 0, 0),
        (20, 10, 10),
        (10, 20, -10),
        (0, 2**32 - 1, 1),
        (2**32 - 1, 0, -1),
        (10, 2**32 - 10, 20),
        (2**32 - 10, 10, -20),
        (2**31 - 1, 0, 2**31 - 1),
        (2**31, 0, -(2**31)),
        (2**31 + 1, 0, -(2**31) + 1),
        (0, 2**31, -(2**31)),
        (0, 2**31 + 1, 2**31 - 1),
    ],
)
def test_distance(later, earlier, expected):
    assert distance(later, earlier) == expected


@given(st.integers(0, 2**32 - 1), st.integers(-(2**31), 2**31 - 1))
def test_distance_is_the_inverse_of_going_there(earlier, step):
    assert distance((earlier + step) & 0xFFFFFFFF, earlier) == step


# In order, and not.


def test_bytes_in_order_are_handed_on_at_once():
    stream = begun(1000)

    assert give(stream, 1000, b"hello ") == [Piece(0, b"hello ")]
    assert give(stream, 1006, b"world") == [Piece(6, b"world")]
    assert stream.next_sequence == 1011


def test_bytes_behind_a_hole_wait_for_it_to_be_filled():
    budget = Budget(PLENTY)
    stream = begun(1000, budget)

    assert give(stream, 1003, b"def") == []
    assert budget.held == 3 + OVERHEAD_BYTES
    assert give(stream, 1000, b"abc") == [Piece(0, b"abc"), Piece(3, b"def")]
    assert budget.held == 0


def test_two_holes_are_filled_one_after_the_other():
    stream = begun(0)
    give(stream, 8, b"ij")
    give(stream, 4, b"ef")

    assert text(give(stream, 0, b"abcd")) == b"abcdef"
    assert text(give(stream, 6, b"gh")) == b"ghij"


def test_retransmission_gives_nothing_again():
    stream = begun(1000)
    give(stream, 1000, b"hello")

    assert give(stream, 1000, b"hello") == []
    assert give(stream, 1000, b"hel") == []


def test_retransmission_with_news_gives_the_news():
    stream = begun(1000)
    give(stream, 1000, b"hello")

    assert give(stream, 1002, b"llo world") == [Piece(5, b" world")]


def test_stream_begins_with_its_first_segment_where_nothing_told_it():
    stream = Stream(Budget(PLENTY))

    assert stream.next_sequence is None
    assert give(stream, 77, b"x") == [Piece(0, b"x")]


def test_stream_begins_with_its_first_acknowledgment_where_nothing_told_it():
    stream = Stream(Budget(PLENTY))

    assert stream.receive_acknowledgment(77) == []
    assert give(stream, 70, b"old") == []
    assert give(stream, 77, b"x") == [Piece(0, b"x")]


def test_segment_without_bytes_gives_nothing():
    assert give(begun(1000), 1000) == []


@pytest.mark.parametrize("probe", [b"", b"\x00"], ids=["no byte", "a byte of garbage"])
def test_keep_alive_probe_gives_nothing(probe):
    stream = begun(1000)
    give(stream, 1000, b"hello")

    assert give(stream, 1004, probe) == []  # one before the next: RFC 9293, 3.8.4
    assert give(stream, 1005, b"!") == [Piece(5, b"!")]


def test_segment_out_of_any_window_belongs_to_no_one():
    budget = Budget(PLENTY)
    stream = begun(1000, budget)

    assert give(stream, 1000 + MAX_WINDOW, b"x") == []
    assert give(stream, 1000 - MAX_WINDOW, b"x") == []
    assert give(stream, 1000 + 2**31, b"x", fin=True) == []
    assert budget.held == 0
    assert give(stream, 1000 + MAX_WINDOW - 1, b"x") == []
    assert budget.held > 0


def test_bytes_across_the_wrap():
    stream = begun(2**32 - 3)

    assert give(stream, 2**32 - 3, b"abcde") == [Piece(0, b"abcde")]
    assert stream.next_sequence == 2
    assert give(stream, 2, b"f") == [Piece(5, b"f")]
    assert give(stream, 2**32 - 1, b"cd") == []


def test_hole_across_the_wrap():
    stream = begun(2**32 - 2)

    assert give(stream, 2, b"ef") == []
    assert give(stream, 2**32 - 2, b"abcd") == [Piece(0, b"abcd"), Piece(4, b"ef")]


# Acknowledgments name what was missed.


def test_acknowledged_bytes_that_never_came_are_a_hole():
    stream = begun(1000)
    give(stream, 1000, b"abc")

    assert stream.receive_acknowledgment(1010) == [Hole(3, 7, GapReason.MISSED)]
    assert give(stream, 1010, b"x") == [Piece(10, b"x")]


def test_acknowledgment_of_what_was_read_says_nothing_new():
    stream = begun(1000)
    give(stream, 1000, b"abc")

    assert stream.receive_acknowledgment(1003) == []
    assert stream.receive_acknowledgment(1001) == []


def test_acknowledgment_beyond_parked_bytes_names_the_holes_around_them():
    stream = begun(1000)
    give(stream, 1005, b"fgh")

    assert stream.receive_acknowledgment(1012) == [
        Hole(0, 5, GapReason.MISSED),
        Piece(5, b"fgh"),
        Hole(8, 4, GapReason.MISSED),
    ]


def test_acknowledgment_within_a_hole_names_no_more_than_was_acknowledged():
    stream = begun(1000)
    give(stream, 1005, b"fgh")

    assert stream.receive_acknowledgment(1002) == [Hole(0, 2, GapReason.MISSED)]
    assert give(stream, 1002, b"cde") == [Piece(2, b"cde"), Piece(5, b"fgh")]


def test_acknowledgment_within_parked_bytes_hands_them_all_on():
    stream = begun(1000)
    give(stream, 1005, b"fgh")

    assert stream.receive_acknowledgment(1006) == [Hole(0, 5, GapReason.MISSED), Piece(5, b"fgh")]


def test_acknowledgment_across_the_wrap():
    stream = begun(2**32 - 2)

    assert stream.receive_acknowledgment(3) == [Hole(0, 5, GapReason.MISSED)]
    assert stream.next_sequence == 3


def test_acknowledgment_out_of_any_window_is_ignored():
    stream = begun(1000)

    assert stream.receive_acknowledgment(1000 + MAX_WINDOW) == []
    assert stream.receive_acknowledgment(1000 + 2**31) == []
    assert stream.next_sequence == 1000


def test_bytes_that_nobody_acknowledged_behind_a_hole_are_never_handed_on():
    budget = Budget(PLENTY)
    stream = begun(1000, budget)
    give(stream, 1005, b"fgh")

    stream.discard()

    assert budget.held == 0


# FIN.


def test_fin_with_the_last_bytes():
    stream = begun(1000)

    assert give(stream, 1000, b"bye", fin=True) == [Piece(0, b"bye"), End(3)]
    assert stream.ended


def test_fin_alone():
    stream = begun(1000)
    give(stream, 1000, b"bye")

    assert give(stream, 1003, fin=True) == [End(3)]


def test_fin_before_the_last_bytes():
    stream = begun(1000)

    assert give(stream, 1003, fin=True) == []
    assert not stream.ended
    assert give(stream, 1000, b"bye") == [Piece(0, b"bye"), End(3)]


def test_fin_with_bytes_behind_a_hole():
    stream = begun(1000)

    assert give(stream, 1003, b"!", fin=True) == []
    assert give(stream, 1000, b"bye") == [Piece(0, b"bye"), Piece(3, b"!"), End(4)]


def test_retransmitted_fin_ends_nothing_again():
    stream = begun(1000)
    give(stream, 1000, b"bye", fin=True)

    assert give(stream, 1000, b"bye", fin=True) == []
    assert give(stream, 1003, fin=True) == []


def test_number_of_the_fin_is_no_missed_byte():
    stream = begun(1000)
    give(stream, 1000, b"bye", fin=True)

    assert stream.receive_acknowledgment(1004) == []


def test_acknowledged_fin_names_the_hole_before_it_and_no_byte_more():
    stream = begun(1000)
    give(stream, 1003, fin=True)

    assert stream.receive_acknowledgment(1004) == [Hole(0, 3, GapReason.MISSED), End(3)]


def test_fin_across_the_wrap():
    stream = begun(2**32 - 3)

    assert give(stream, 2**32 - 3, b"bye", fin=True) == [Piece(0, b"bye"), End(3)]
    assert stream.receive_acknowledgment(1) == []


def test_keep_alive_with_a_byte_of_garbage_after_the_fin_gives_nothing():
    stream = begun(1000)
    give(stream, 1000, b"bye", fin=True)

    assert give(stream, 1003, b"\x00") == []  # one before the next, which is the number of the FIN


def test_no_byte_follows_the_end():
    stream = begun(1000)
    give(stream, 1000, b"bye", fin=True)

    assert give(stream, 1003, b"more") == []
    assert give(stream, 1004, b"more") == []


def test_no_byte_beyond_a_fin_that_came_early_is_handed_on():
    stream = begun(1000)
    give(stream, 1003, fin=True)
    give(stream, 1003, b"more")

    assert give(stream, 1000, b"bye") == [Piece(0, b"bye"), End(3)]


# Overlaps, as Linux resolves them.


def test_bytes_that_were_handed_on_stay():
    stream = begun(0)
    give(stream, 0, b"abcd")

    assert give(stream, 2, b"XXef") == [Piece(4, b"ef")]


def test_among_parked_segments_the_one_that_begins_first_wins():
    stream = begun(0)
    give(stream, 4, b"4444")
    give(stream, 2, b"2222")

    assert text(give(stream, 0, b"00")) == b"00" + b"2222" + b"44"


def test_among_parked_segments_the_one_that_begins_first_wins_whichever_came_first():
    stream = begun(0)
    give(stream, 2, b"2222")
    give(stream, 4, b"4444")

    assert text(give(stream, 0, b"00")) == b"00" + b"2222" + b"44"


def test_segment_that_covers_a_parked_one_replaces_it():
    stream = begun(0)
    give(stream, 3, b"33")
    give(stream, 2, b"222222")

    assert text(give(stream, 0, b"00")) == b"00" + b"222222"


def test_segment_that_covers_a_parked_one_from_the_same_beginning_replaces_it():
    stream = begun(0)
    give(stream, 2, b"old")
    give(stream, 2, b"NEWER")

    assert text(give(stream, 0, b"00")) == b"00" + b"NEWER"


def test_segment_that_a_parked_one_covers_is_dropped():
    stream = begun(0)
    give(stream, 2, b"222222")
    give(stream, 3, b"33")
    give(stream, 2, b"XXXXXX")
    give(stream, 6, b"66")

    assert text(give(stream, 0, b"00")) == b"00" + b"222222"


def test_segment_that_covers_several_parked_ones_replaces_them_all():
    budget = Budget(PLENTY)
    stream = begun(0, budget)
    for start in (4, 6, 8):
        give(stream, start, b"--")
    give(stream, 10, b"tail")

    give(stream, 2, b"22222222")

    assert budget.held == 8 + 4 + 2 * OVERHEAD_BYTES
    assert text(give(stream, 0, b"00")) == b"00" + b"22222222" + b"tail"


def test_segment_across_what_was_handed_on_and_what_is_parked():
    stream = begun(0)
    give(stream, 0, b"ab")
    give(stream, 4, b"efgh")

    assert text(give(stream, 1, b"Xcd---")) == b"cd---" + b"h"


# Packets that the capture cut short.


def test_truncated_segment_names_what_was_cut_off():
    stream = begun(0)

    assert stream.receive_segment(0, b"abc", 10) == [Piece(0, b"abc"), Hole(3, 7, GapReason.TRUNCATED)]
    assert give(stream, 10, b"k") == [Piece(10, b"k")]


def test_truncated_segment_without_any_payload():
    assert begun(0).receive_segment(0, b"", 10) == [Hole(0, 10, GapReason.TRUNCATED)]


def test_truncated_segment_that_waited():
    stream = begun(0)
    stream.receive_segment(2, b"c", 5, fin=True)

    assert give(stream, 0, b"ab") == [
        Piece(0, b"ab"),
        Piece(2, b"c"),
        Hole(3, 4, GapReason.TRUNCATED),
        End(7),
    ]


def test_truncated_retransmission_of_more_than_was_read():
    stream = begun(0)
    give(stream, 0, b"abcdef")

    assert stream.receive_segment(0, b"abc", 10) == [Hole(6, 4, GapReason.TRUNCATED)]


# The byte budget.


def test_limits_stand_above_what_receivers_wait_for():
    assert MAX_PARKED_BYTES == 8 << 20
    assert MAX_WINDOW == 1 << 30


def test_hole_is_given_up_when_the_stream_parked_all_it_may():
    budget = Budget(PLENTY)
    stream = begun(0, budget, max_parked_bytes=2 * (OVERHEAD_BYTES + 10))
    give(stream, 10, b"b" * 10)
    give(stream, 30, b"d" * 10)

    events = give(stream, 50, b"f" * 10)

    assert events == [Hole(0, 10, GapReason.BUDGET), Piece(10, b"b" * 10)]
    assert budget.held == 2 * (OVERHEAD_BYTES + 10)
    assert give(stream, 20, b"c" * 10) == [Piece(20, b"c" * 10), Piece(30, b"d" * 10)]
    stream.discard()
    assert budget.held == 0


def test_hole_is_given_up_when_the_shared_budget_is_used_up():
    budget = Budget(100 + OVERHEAD_BYTES)
    budget.take(100 + OVERHEAD_BYTES)
    stream = begun(0, budget)

    assert give(stream, 10, b"x" * 10) == [Hole(0, 10, GapReason.BUDGET), Piece(10, b"x" * 10)]
    assert budget.held == 100 + OVERHEAD_BYTES


def test_segment_larger_than_the_limit_is_handed_on_at_once():
    stream = begun(0, max_parked_bytes=100)

    assert give(stream, 5, b"x" * 200) == [Hole(0, 5, GapReason.BUDGET), Piece(5, b"x" * 200)]


def test_flood_of_single_bytes_is_charged_what_it_costs():
    budget = Budget(PLENTY)
    stream = begun(0, budget, max_parked_bytes=100 * (OVERHEAD_BYTES + 1))

    holes = [
        event
        for sequence in range(1, 1001, 2)
        for event in give(stream, sequence, b"x")
        if isinstance(event, Hole)
    ]

    assert budget.held <= 100 * (OVERHEAD_BYTES + 1)
    assert {hole.reason for hole in holes} == {GapReason.BUDGET}
    stream.discard()
    assert budget.held == 0


def test_bytes_in_hand_are_not_thrown_away_for_want_of_room():
    stream = begun(0, max_parked_bytes=OVERHEAD_BYTES + 10)
    give(stream, 20, b"c" * 10)

    events = give(stream, 10, b"b" * 10)

    assert text(events) == b"b" * 10 + b"c" * 10
    assert [event for event in events if isinstance(event, Hole)] == [Hole(0, 10, GapReason.BUDGET)]


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


@settings(max_examples=150, deadline=None)
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

    captured: set[int]
    known: list[bool]
    """For each byte that was passed on, whether it was there."""

    def advance(self) -> None:
        while len(self.known) in self.captured:
            self.known.append(True)

    def acknowledge(self, to: int) -> None:
        while len(self.known) < to:
            self.known.append(len(self.known) in self.captured)
        self.advance()


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


@settings(max_examples=150, deadline=None)
@given(truth=truths, sequence=start_sequences, data=st.data())
def test_holes_are_exactly_what_was_acknowledged_and_never_seen(truth, sequence, data):
    budget = Budget(PLENTY)
    stream = begun(sequence, budget)
    model = Model(set(), [])
    delivered: set[int] = set()
    events: list[StreamEvent] = []
    fin_seen = False

    for start, end in data.draw(cuts(len(truth))):
        delivered.update(range(start, end))
        if data.draw(st.booleans(), label=f"captured {start}-{end}"):
            fin = end == len(truth)
            fin_seen |= fin
            events += give(stream, sequence + start, truth[start:end], fin=fin)
            model.captured.update(range(start, end))
            model.advance()
        if data.draw(st.booleans(), label="acknowledged"):
            acknowledged = contiguous(delivered)
            events += stream.receive_acknowledgment((sequence + acknowledged) & 0xFFFFFFFF)
            model.acknowledge(acknowledged)
        assert by_byte(events, truth) == model.known

    events += stream.receive_acknowledgment((sequence + len(truth) + fin_seen) & 0xFFFFFFFF)
    model.acknowledge(len(truth))
    assert by_byte(events, truth) == model.known
    assert len(model.known) == len(truth)
    assert stream.ended == fin_seen
    assert budget.held == 0


@settings(max_examples=100, deadline=None)
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
    """tcp_data_queue and tcp_data_queue_ofo of net/ipv4/tcp_input.c, for a queue without coalescing."""

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
        if any(first <= start and end <= first + len(other) for first, other in self.queue):
            return  # all of it is there
        kept = [
            (first, other)
            for first, other in self.queue
            if not (start <= first and first + len(other) <= end)
        ]
        self.queue = sorted([*kept, (start, payload)])


@settings(max_examples=150, deadline=None)
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


@settings(max_examples=200, deadline=None)
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
