"""What a connection leaves: late segments after its end, resets, and the same ports used again."""

import pytest

from podmirror_agent.budget import OVERHEAD_BYTES
from podmirror_agent.connections import SILENCE_SECONDS, TOMBSTONE_SECONDS
from podmirror_agent.stream import MAX_WINDOW
from podmirror_wire.frames import Closed, Data, Ended, Gap
from podmirror_wire.values import CloseReason, GapReason
from tests.agent.packets import CLIENT, POD, End, Talk
from tests.agent.watch import TO_INITIATOR, TO_RESPONDER, opened

# Tombstones.


def test_retransmitted_last_segments_are_no_late_join(watch, talk):
    last, fin, server_fin = None, None, None
    watch.see(*talk.handshake())
    last = talk.says(b"bye")
    fin = talk.fin()
    server_fin = talk.server_fin()
    watch.see(last, fin, server_fin)

    assert watch.see(last, fin, server_fin, talk.ack()) == []


def test_bytes_after_a_reset_are_no_late_join(watch, talk):
    watch.see(*talk.handshake())
    watch.see(talk.server_reset())

    assert watch.see(talk.says(b"on its way already")) == []


def test_tombstone_is_forgotten_in_time(watch, talk):
    watch.see(*talk.handshake(), talk.fin(), talk.server_fin())
    watch.wait(TOMBSTONE_SECONDS - 1)
    assert watch.tracked == 1

    watch.wait(1)

    assert watch.tracked == 0


# Resets.


def test_reset_by_the_initiator(watch, talk):
    watch.see(*talk.handshake())

    assert watch.see(talk.reset()) == [Closed(1, CloseReason.RESET_BY_INITIATOR, 0)]


def test_reset_by_the_responder(watch, talk):
    watch.see(*talk.handshake())

    assert watch.see(talk.server_reset()) == [Closed(1, CloseReason.RESET_BY_RESPONDER, 0)]


def test_reset_that_was_obeyed_hands_on_what_was_parked(watch, talk):
    watch.see(*talk.handshake())
    talk.says(b"missed")
    watch.see(talk.says(b"parked"))
    assert watch.buffered == 6 + OVERHEAD_BYTES

    assert watch.see(talk.reset()) == []  # if the app's kernel missed those bytes, too, it ignores the reset
    assert watch.wait(SILENCE_SECONDS) == [
        Gap(1, TO_RESPONDER, 0, 6, GapReason.MISSED),
        Data(1, TO_RESPONDER, 6, b"parked"),
        Closed(1, CloseReason.RESET_BY_INITIATOR, 0),
    ]
    assert watch.buffered == 0


def test_reset_behind_a_hole_is_forgotten_when_the_connection_goes_on(watch, talk):
    watch.see(*talk.handshake())
    first, second = talk.says(b"delayed"), talk.says(b"parked")
    watch.see(second, talk.reset())

    assert (
        watch.see(talk.segment(talk.server, "A", acknowledgment=first.sequence)) == []
    )  # a challenge (RFC 5961, 3.2)
    assert watch.wait(SILENCE_SECONDS) == []
    assert watch.see(first) == [Data(1, TO_RESPONDER, 0, b"delayed"), Data(1, TO_RESPONDER, 7, b"parked")]


@pytest.mark.parametrize("offset", [-1, -1000, MAX_WINDOW + 1, 2**31], ids=str)
def test_reset_out_of_the_window_is_ignored(watch, talk, offset):
    watch.see(*talk.handshake(), talk.says(b"hello"))

    assert watch.see(talk.reset(sequence=talk.client.next + offset)) == []
    assert watch.see(talk.server_reset(sequence=talk.server.next + offset)) == []
    assert watch.see(talk.says(b"!")) == [Data(1, TO_RESPONDER, 5, b"!")]


def test_reset_behind_a_hole_counts(watch, talk):
    """What was missed before it may well have reached the app's kernel."""
    watch.see(*talk.handshake())
    talk.says(b"missed")

    assert watch.see(talk.reset()) == []
    assert watch.wait(SILENCE_SECONDS) == [
        Gap(1, TO_RESPONDER, 0, 6, GapReason.MISSED),
        Closed(1, CloseReason.RESET_BY_INITIATOR, 0),
    ]


def test_reset_after_the_senders_fin(watch, talk):
    watch.see(*talk.handshake(), talk.fin())

    assert watch.see(talk.reset()) == [Closed(1, CloseReason.RESET_BY_INITIATOR, 0)]


# The same ports again.


def test_ports_are_used_again_in_time_wait(watch, talk):
    watch.see(*talk.handshake(), talk.fin(), talk.server_fin(), talk.ack())
    again = Talk(End(CLIENT, 40000, 90_000), End(POD, 80, 70_000))

    assert watch.see(*again.handshake(), again.says(b"new")) == [opened(2), Data(2, TO_RESPONDER, 0, b"new")]
    watch.wait(TOMBSTONE_SECONDS)
    assert watch.see(again.says(b"er")) == [Data(2, TO_RESPONDER, 3, b"er")]


def test_ports_are_used_again_after_a_reset(watch, talk):
    watch.see(*talk.handshake(), talk.reset())

    assert watch.see(*Talk(End(CLIENT, 40000, 90_000)).handshake()) == [opened(2)]


def test_ports_are_used_again_and_the_end_was_missed(watch, talk):
    watch.see(*talk.handshake(), talk.says(b"old"))
    again = Talk(End(CLIENT, 40000, 90_000), End(POD, 80, 70_000))

    assert watch.see(again.syn()) == []
    assert watch.see(again.syn_ack()) == [Closed(1, CloseReason.REPLACED, 0)]
    assert watch.see(again.ack(), again.says(b"new")) == [opened(2), Data(2, TO_RESPONDER, 0, b"new")]


def test_ports_are_used_again_and_the_end_and_the_syn_were_missed(watch, talk):
    """A kernel answers no SYN of an open connection with a SYN-ACK, so the old one is over."""
    watch.see(*talk.handshake(), talk.says(b"old"))
    again = Talk(End(CLIENT, 40000, 90_000), End(POD, 80, 70_000))
    again.syn()

    assert watch.see(again.syn_ack()) == [Closed(1, CloseReason.REPLACED, 0)]
    assert watch.see(again.ack(), again.says(b"new")) == [opened(2), Data(2, TO_RESPONDER, 0, b"new")]


def test_ports_are_used_again_in_time_wait_and_the_syn_was_missed(watch, talk):
    watch.see(*talk.handshake(), talk.fin(), talk.server_fin(), talk.ack())
    again = Talk(End(CLIENT, 40000, 90_000), End(POD, 80, 70_000))
    again.syn()

    assert watch.see(again.syn_ack(), again.ack(), again.says(b"new")) == [
        opened(2),
        Data(2, TO_RESPONDER, 0, b"new"),
    ]


def test_syn_on_an_open_connection_that_is_answered_with_a_challenge(watch, talk):
    """RFC 5961, 4.2: a SYN on an open connection is answered with an ACK, and a forged one changes nothing."""
    watch.see(*talk.handshake(), talk.says(b"hello"))
    forged = talk.segment(talk.client, "S", sequence=90_000)

    assert watch.see(forged, talk.server_ack()) == []
    assert watch.see(talk.says(b"!")) == [Data(1, TO_RESPONDER, 5, b"!")]


def test_challenge_that_a_client_without_memory_answers_with_a_reset(watch, talk):
    watch.see(*talk.handshake(), talk.says(b"hello"))
    again = Talk(End(CLIENT, 40000, 90_000), End(POD, 80, 70_000))
    syn = again.syn()

    assert watch.see(syn, talk.server_ack()) == []
    assert watch.see(talk.segment(talk.client, "R")) == [Closed(1, CloseReason.RESET_BY_INITIATOR, 0)]
    assert watch.see(syn, again.syn_ack(), again.ack()) == [opened(2)]


def test_connection_is_closed_once_though_its_successor_was_announced(watch, talk):
    """As the challenge above, but the SYN that follows the reset was missed."""
    watch.see(*talk.handshake(), talk.says(b"hello"))
    again = Talk(End(CLIENT, 40000, 90_000), End(POD, 80, 70_000))
    watch.see(again.syn(), talk.server_ack())
    assert watch.see(talk.segment(talk.client, "R")) == [Closed(1, CloseReason.RESET_BY_INITIATOR, 0)]

    assert watch.see(again.syn_ack(), again.ack()) == [opened(2)]


def test_handshake_that_is_given_up_for_another_gives_back_what_it_held(watch, talk):
    """What a hostile client can send: bytes that park before the connection is open, and then another SYN."""
    watch.see(talk.syn())
    watch.see(talk.segment(talk.client, "SA", b"parks", sequence=talk.client.next + 100))
    again = Talk(End(CLIENT, 40000, 90_000), End(POD, 80, 70_000))
    watch.see(*again.handshake(), again.reset())

    assert watch.buffered == 0


def test_reset_that_acknowledges_names_what_was_missed(watch, talk):
    """Linux sends RST with an acknowledgment when the app closes with bytes that it has not read."""
    watch.see(*talk.handshake(), talk.says(b"seen"))
    talk.says(b"missed")  # the capture never sees this

    events = watch.see(talk.server_reset())

    assert events == [
        Gap(1, TO_RESPONDER, 4, 5, GapReason.MISSED),
        Gap(1, TO_RESPONDER, 9, 1, GapReason.MISSED),
        Closed(1, CloseReason.RESET_BY_RESPONDER, 0),
    ]


# An end that was missed.


def test_missed_fin_is_no_gap_and_no_end_that_is_certain(watch, talk):
    watch.see(*talk.handshake(), talk.says(b"bye"))
    talk.fin()  # the capture never sees this

    assert watch.see(talk.server_ack()) == []
    assert watch.see(talk.server_fin(), talk.ack()) == [Ended(1, TO_INITIATOR, 0)]
    assert watch.wait(SILENCE_SECONDS / 2) == []
    assert watch.wait(SILENCE_SECONDS / 2) == [Closed(1, CloseReason.END_MISSED, 0)]


def test_connection_that_goes_on_has_not_ended(watch, talk):
    watch.see(*talk.handshake())
    talk.says(b"x")
    watch.see(talk.server_fin(), talk.ack())

    assert watch.see(talk.says(b"more")) == [
        Gap(1, TO_RESPONDER, 0, 1, GapReason.MISSED),
        Data(1, TO_RESPONDER, 1, b"more"),
    ]
    assert watch.wait(SILENCE_SECONDS) == []


def test_fast_open_on_ports_whose_last_end_was_missed_names_what_came_with_the_syn(watch, talk):
    watch.see(*talk.handshake(), talk.says(b"before"))
    again = Talk(End(CLIENT, 40000, 700_000), End(POD, 80, 900_000))

    assert watch.see(
        again.send(again.client, "S", b"GET /"), again.syn_ack(), again.says(b" HTTP"), again.server_ack()
    ) == [
        Closed(1, CloseReason.REPLACED, 0),
        opened(2),
        Gap(2, TO_RESPONDER, 0, 4, GapReason.MISSED),
        Gap(2, TO_RESPONDER, 4, 1, GapReason.MISSED),
        Data(2, TO_RESPONDER, 5, b" HTTP"),
    ]
