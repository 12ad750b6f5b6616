"""What the layer sends, through tunnels that break."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podmirror.outgoing import Outgoing
from podmirror_wire.errors import ProtocolError
from tests.fuzzing import examples


def test_bytes_are_taken_once():
    outgoing = Outgoing()
    outgoing.append(b"one")
    outgoing.append(b"two")

    assert outgoing.has_more
    assert outgoing.take() == b"onetwo"
    assert not outgoing.has_more
    assert outgoing.take() == b""


def test_what_was_not_acknowledged_is_taken_again():
    outgoing = Outgoing(10)
    outgoing.append(b"abcdef")
    outgoing.take()
    outgoing.acknowledge(12)
    outgoing.append(b"gh")

    outgoing.rewind(13)

    assert outgoing.take() == b"defgh"


@pytest.mark.parametrize("position", [11, 17])
def test_a_position_that_is_not_kept_is_no_place_to_go_on(position):
    outgoing = Outgoing(10)
    outgoing.append(b"abcdef")
    outgoing.take()
    outgoing.acknowledge(12)

    with pytest.raises(ProtocolError, match=f"behind byte {position}"):
        outgoing.rewind(position)


def test_more_than_was_sent_cannot_have_been_received():
    outgoing = Outgoing()
    outgoing.append(b"abc")

    with pytest.raises(ProtocolError, match="3 bytes cannot have been received, for only 0 were sent"):
        outgoing.acknowledge(3)


def test_news_that_is_old_is_no_news():
    outgoing = Outgoing()
    outgoing.append(b"abc")
    outgoing.take()
    outgoing.acknowledge(2)
    outgoing.acknowledge(1)

    outgoing.rewind(2)
    assert outgoing.take() == b"c"


@settings(max_examples=examples(200))
@given(st.integers(0, 1 << 32), st.binary(max_size=300))
def test_wherever_tunnels_break_the_bytes_are_the_same(seed, whole):
    chosen = random.Random(seed)
    outgoing, left, in_tunnel, arrived = Outgoing(), whole, b"", b""
    while arrived != whole:
        size = chosen.randrange(20)
        outgoing.append(left[:size])
        left = left[size:]
        in_tunnel += outgoing.take()
        got = chosen.randrange(len(in_tunnel) + 1)
        arrived += in_tunnel[:got]
        in_tunnel = in_tunnel[got:]
        if chosen.random() < 0.3:
            outgoing.acknowledge(len(arrived))
        if chosen.random() < 0.3:
            in_tunnel = b""
            outgoing.rewind(len(arrived))


def test_what_was_taken_is_counted():
    outgoing = Outgoing(100)
    outgoing.append(b"abc")

    assert outgoing.taken == 100
    outgoing.take()
    assert outgoing.taken == 103
