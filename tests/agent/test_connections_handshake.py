"""How a connection opens: refused ones that never do, TCP Fast Open, and a beginning that was missed."""

import pytest

from podmirror_agent.connections import EXPIRY_INTERVAL_SECONDS, HANDSHAKE_SECONDS
from podmirror_wire.frames import Data, Ended, Gap
from podmirror_wire.values import GapReason
from tests.agent.packets import Talk
from tests.agent.watch import TO_INITIATOR, TO_RESPONDER, finished, opened

# What the app never accepts opens nothing.


def test_refused_connection_opens_nothing(watch, talk):
    assert watch.see(talk.syn(), talk.segment(talk.server, "RA", sequence=0)) == []
    assert watch.tracked == 0


def test_port_scan_opens_nothing(watch, talk):
    assert watch.see(talk.syn(), talk.syn_ack(), talk.segment(talk.client, "R")) == []
    assert watch.tracked == 0


def test_connection_after_a_refused_one_is_opened(watch, talk):
    watch.see(talk.syn(), talk.segment(talk.server, "RA", sequence=0))

    assert watch.see(*Talk().handshake()) == [opened(2)]


def test_syn_without_an_answer_opens_nothing_and_is_forgotten(watch, talk):
    assert watch.see(talk.syn()) == []
    assert watch.wait(HANDSHAKE_SECONDS - EXPIRY_INTERVAL_SECONDS) == []
    assert watch.tracked == 1
    assert watch.wait(2 * EXPIRY_INTERVAL_SECONDS) == []
    assert watch.tracked == 0


def test_syn_with_a_reset_bit_is_a_reset(watch, talk):
    assert watch.see(talk.segment(talk.client, "SR")) == []
    assert watch.tracked == 0


def test_reset_of_an_unknown_connection_opens_nothing(watch, talk):
    assert watch.see(talk.reset(), talk.server_reset()) == []
    assert watch.tracked == 0


@pytest.mark.parametrize("flags", ["F", "", "A", "FPA"])
def test_probes_without_payload_open_nothing(watch, talk, flags):
    assert watch.see(talk.segment(talk.client, flags)) == []
    assert watch.tracked == 0


# TCP Fast Open.


def test_fast_open_that_the_server_takes(watch, talk):
    assert watch.see(talk.send(talk.client, "S", b"GET /")) == []
    assert watch.see(talk.syn_ack()) == [opened(), Data(1, TO_RESPONDER, 0, b"GET /")]
    assert watch.see(talk.answers(b"200 OK")) == [Data(1, TO_INITIATOR, 0, b"200 OK")]
    assert watch.see(talk.says(b"more")) == [Data(1, TO_RESPONDER, 5, b"more")]


def test_fast_open_that_the_server_does_not_take(watch, talk):
    watch.see(talk.segment(talk.client, "S", b"GET /"))
    talk.syn()

    assert watch.see(talk.syn_ack()) == []
    assert watch.see(talk.says(b"GET /")) == [opened(), Data(1, TO_RESPONDER, 0, b"GET /")]


def test_fast_open_that_is_refused_opens_nothing(watch, talk):
    assert watch.see(talk.send(talk.client, "S", b"GET /"), talk.server_reset(sequence=0)) == []
    assert watch.buffered == 0


def test_answer_that_rides_on_the_syn_ack(watch, talk):
    watch.see(talk.send(talk.client, "S", b"GET /"))

    assert watch.see(talk.send(talk.server, "SA", b"200 OK")) == [
        opened(),
        Data(1, TO_RESPONDER, 0, b"GET /"),
        Data(1, TO_INITIATOR, 0, b"200 OK"),
    ]


# What was missed.


def test_syn_was_missed_but_the_syn_ack_was_seen(watch, talk):
    _, syn_ack, ack = talk.handshake()

    assert watch.see(syn_ack, ack, talk.says(b"hi")) == [opened(), Data(1, TO_RESPONDER, 0, b"hi")]


def test_syn_ack_was_missed(watch, talk):
    syn, _, ack = talk.handshake()

    assert watch.see(syn, ack) == [opened()]
    assert watch.see(talk.answers(b"hi")) == [Data(1, TO_INITIATOR, 0, b"hi")]


def test_first_bytes_were_missed(watch, talk):
    watch.see(*talk.handshake())
    talk.says(b"GET /")

    assert watch.see(talk.answers(b"200")) == [
        Gap(1, TO_RESPONDER, 0, 4, GapReason.MISSED),
        Data(1, TO_INITIATOR, 0, b"200"),
    ]
    assert watch.see(talk.says(b"GET /again")) == [  # only now is it certain that the last of them was no FIN
        Gap(1, TO_RESPONDER, 4, 1, GapReason.MISSED),
        Data(1, TO_RESPONDER, 5, b"GET /again"),
    ]


def test_last_bytes_of_the_server_were_missed(watch, talk):
    watch.see(*talk.handshake())
    talk.answers(b"200 OK")

    assert watch.see(talk.fin(), talk.server_fin()) == [
        Gap(1, TO_INITIATOR, 0, 5, GapReason.MISSED),
        Ended(1, TO_RESPONDER, 0),
        Gap(1, TO_INITIATOR, 5, 1, GapReason.MISSED),
        Ended(1, TO_INITIATOR, 6),
        finished(),
    ]


def test_late_join_begins_with_the_first_bytes_of_the_initiator(watch, talk):
    talk.handshake()
    talk.says(b"before")

    assert watch.see(talk.answers(b"seen, but of no known beginning"), talk.ack()) == []
    assert watch.see(talk.says(b"GET /")) == [opened(late=True), Data(1, TO_RESPONDER, 0, b"GET /")]
    assert watch.see(talk.answers(b"200")) == [Data(1, TO_INITIATOR, 0, b"200")]
    assert watch.see(talk.fin(), talk.server_fin())[-1] == finished()


def test_late_join_names_what_it_misses_from_then_on(watch, talk):
    talk.handshake()
    watch.see(talk.says(b"one"))
    talk.answers(b"1234")

    assert watch.see(talk.says(b"two")) == [
        Gap(1, TO_INITIATOR, 0, 3, GapReason.MISSED),
        Data(1, TO_RESPONDER, 3, b"two"),
    ]


def test_late_join_ignores_retransmissions_from_before(watch, talk):
    talk.handshake()
    before = talk.says(b"before")
    watch.see(talk.says(b"one"))

    assert watch.see(before) == []


# What is not of this handshake.


def test_acknowledgment_of_another_syn_opens_nothing(watch, talk):
    syn, syn_ack, ack = talk.handshake()
    stray = talk.segment(talk.client, "PA", b"no", acknowledgment=talk.server.next - 1000)

    assert watch.see(syn, syn_ack, stray) == []
    assert watch.see(ack) == [opened()]


def test_resets_of_other_segments_do_not_end_a_handshake(watch, talk):
    syn, syn_ack, ack = talk.handshake()
    others = [
        talk.segment(talk.server, "R", sequence=talk.server.next - 1000),
        talk.segment(talk.server, "RA", sequence=7, acknowledgment=talk.client.next + 1000),
        talk.reset(sequence=talk.client.next - 1000),
    ]

    assert watch.see(syn, syn_ack, *others) == []
    assert watch.see(ack) == [opened()]


@pytest.mark.parametrize("by", ["initiator", "responder"])
def test_reset_after_the_syn_ack_ends_a_handshake(watch, talk, by):
    watch.see(talk.syn(), talk.syn_ack())

    watch.see(talk.reset() if by == "initiator" else talk.segment(talk.server, "R"))

    assert watch.tracked == 0


def test_bytes_with_a_syn_that_the_responder_does_not_take_are_withdrawn(watch, talk):
    watch.see(talk.segment(talk.client, "S", b"for nobody"))
    talk.syn()

    assert watch.see(talk.syn_ack(), talk.says(b"GET /")) == [opened(), Data(1, TO_RESPONDER, 0, b"GET /")]
    assert watch.buffered == 0
