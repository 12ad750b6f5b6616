"""Reassembly of one direction: bytes in order and not, their end, and segments that overlap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podmirror_agent.budget import OVERHEAD_BYTES, Budget
from podmirror_agent.stream import MAX_WINDOW, UNKNOWN, End, Hole, Piece, Stream, distance
from podmirror_wire.values import GapReason
from tests.agent.reassembly import PLENTY, begun, give, text

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
    assert stream.next == 1011


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

    assert stream.next == UNKNOWN
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
    assert stream.next == 2
    assert give(stream, 2, b"f") == [Piece(5, b"f")]
    assert give(stream, 2**32 - 1, b"cd") == []


def test_hole_across_the_wrap():
    stream = begun(2**32 - 2)

    assert give(stream, 2, b"ef") == []
    assert give(stream, 2**32 - 2, b"abcd") == [Piece(0, b"abcd"), Piece(4, b"ef")]


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


def test_data_that_covers_a_fin_that_came_early_replaces_it():
    stream = begun(1000)
    give(stream, 1003, fin=True)
    give(stream, 1003, b"more")

    assert give(stream, 1000, b"bye") == [Piece(0, b"bye"), Piece(3, b"more")]


def test_data_that_goes_beyond_a_fin_that_came_early_makes_it_old():
    stream = begun(1000)
    give(stream, 1003, fin=True)

    assert give(stream, 1000, b"goodbye") == [Piece(0, b"goodbye")]
    assert give(stream, 1007, fin=True) == [End(7)]


def test_fin_of_old_bytes_ends_nothing():
    stream = begun(1000)
    give(stream, 1000, b"hello")

    assert give(stream, 1000, b"hell", fin=True) == []
    assert give(stream, 1000, b"hello", fin=True) == [End(5)]


def test_parked_segment_is_joined_to_the_one_that_ends_where_it_begins():
    budget = Budget(PLENTY)
    stream = begun(0, budget)
    give(stream, 10, b"1" * 10)
    give(stream, 20, b"2" * 10, fin=True)

    assert budget.held == 20 + OVERHEAD_BYTES
    assert give(stream, 10, b"3" * 15) == give(stream, 15, b"4" * 10) == []
    assert give(stream, 0, b"0" * 10) == [Piece(0, b"0" * 10), Piece(10, b"1" * 10 + b"2" * 10), End(30)]
    assert budget.held == 0


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
    for start in (3, 6, 8):
        give(stream, start, b"--")
    give(stream, 11, b"tail")

    give(stream, 2, b"22222222")

    assert budget.held == 8 + 4 + 2 * OVERHEAD_BYTES
    assert text(give(stream, 0, b"00") + give(stream, 10, b"-")) == b"00" + b"22222222" + b"-tail"


def test_segment_across_what_was_handed_on_and_what_is_parked():
    stream = begun(0)
    give(stream, 0, b"ab")
    give(stream, 4, b"efgh")

    assert text(give(stream, 1, b"Xcd---")) == b"cd---" + b"h"
