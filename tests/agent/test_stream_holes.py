"""What a stream cannot hand on is named: bytes missed, cut off by the capture, or given up for the budget."""

from podmirror_agent.budget import OVERHEAD_BYTES, Budget
from podmirror_agent.stream import MAX_PARKED_BYTES, MAX_WINDOW, End, Hole, Piece
from podmirror_wire.values import GapReason
from tests.agent.reassembly import PLENTY, begun, give, text

# Acknowledgments name what was missed.


def test_acknowledged_bytes_that_never_came_are_a_hole():
    stream = begun(1000)
    give(stream, 1000, b"abc")

    assert stream.receive_acknowledgment(1010) == [Hole(3, 6, GapReason.MISSED)]
    assert give(stream, 1010, b"x") == [Hole(9, 1, GapReason.MISSED), Piece(10, b"x")]


def test_last_number_that_was_acknowledged_may_be_that_of_a_fin():
    stream = begun(1000)
    give(stream, 1000, b"abc")

    assert stream.receive_acknowledgment(1004) == []
    assert stream.fin_missed
    assert not stream.ended


def test_last_number_that_was_acknowledged_is_a_byte_when_it_comes():
    stream = begun(1000)

    assert stream.receive_acknowledgment(1001) == []
    assert give(stream, 1000, b"a") == [Piece(0, b"a")]
    assert not stream.fin_missed


def test_last_number_that_was_acknowledged_is_a_byte_when_a_fin_comes_behind_it():
    stream = begun(1000)
    stream.receive_acknowledgment(1001)

    assert give(stream, 1001, b"", fin=True) == [Hole(0, 1, GapReason.MISSED), End(1)]


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
        Hole(8, 3, GapReason.MISSED),
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

    assert stream.receive_acknowledgment(3) == [Hole(0, 4, GapReason.MISSED)]
    assert stream.next == 2


def test_acknowledgment_out_of_any_window_is_ignored():
    stream = begun(1000)

    assert stream.receive_acknowledgment(1000 + MAX_WINDOW) == []
    assert stream.receive_acknowledgment(1000 + 2**31) == []
    assert stream.next == 1000


def test_bytes_that_nobody_acknowledged_behind_a_hole_are_never_handed_on():
    budget = Budget(PLENTY)
    stream = begun(1000, budget)
    give(stream, 1005, b"fgh")

    stream.discard()

    assert budget.held == 0


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
