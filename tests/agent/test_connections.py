"""Dialogues: each test is a conversation as the wire shows it, and what the layer is told of it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podmirror_agent.budget import OVERHEAD_BYTES, Budget
from podmirror_agent.connections import (
    EXPIRY_INTERVAL_SECONDS,
    HANDSHAKE_SECONDS,
    IDLE_SECONDS,
    TOMBSTONE_SECONDS,
    ConnectionEvent,
    Connections,
)
from podmirror_agent.packet import Way
from podmirror_agent.segment import Segment
from podmirror_agent.stream import MAX_WINDOW
from podmirror_wire.frames import Closed, Data, Ended, Gap, Opened
from podmirror_wire.values import CloseReason, Direction, Endpoint, GapReason
from tests.agent.packets import CLIENT, ETH0, LO, POD, End, Talk

TO_RESPONDER, TO_INITIATOR = Direction.TO_RESPONDER, Direction.TO_INITIATOR
POD_TIME = 1_700_000_000_000_000_000


class Watch:
    """Connections seen on the pod's interface: what comes from the pod is outgoing, all else incoming."""

    def __init__(self, *ports: int, **limits: float) -> None:
        self.budget = Budget(1 << 30)
        self.connections = Connections(self.budget, **limits)
        self.connections.subscribe(frozenset(ports or {80}))
        self.now = 0.0

    def see(self, *segments: Segment, way: Way | None = None, interface=ETH0) -> list[ConnectionEvent]:
        events: list[ConnectionEvent] = []
        for segment in segments:
            taken = way or (Way.OUTGOING if segment.source == bytes((10, 0, 0, 2)) else Way.INCOMING)
            events += self.connections.receive_segment(segment, taken, interface, POD_TIME, self.now)
        return events

    def wait(self, seconds: float) -> list[ConnectionEvent]:
        self.now += seconds
        return self.connections.expire(self.now)

    @property
    def tracked(self) -> int:
        return len(self.connections)


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def talk() -> Talk:
    return Talk()


def opened(number: int = 1, *, late: bool = False, interface: str = "eth0", port: int = 40000) -> Opened:
    return Opened(number, late, Endpoint(CLIENT, port), Endpoint(POD, 80), POD_TIME, interface)


def finished(number: int = 1) -> Closed:
    return Closed(number, CloseReason.FINISHED, 0)


# The usual way.


def test_a_connection_from_its_handshake_to_its_end(watch, talk):
    assert watch.see(talk.syn(), talk.syn_ack()) == []
    assert watch.see(talk.ack()) == [opened()]
    assert watch.see(talk.says(b"GET /")) == [Data(1, TO_RESPONDER, 0, b"GET /")]
    assert watch.see(talk.answers(b"200 OK")) == [Data(1, TO_INITIATOR, 0, b"200 OK")]
    assert watch.see(talk.says(b"more")) == [Data(1, TO_RESPONDER, 5, b"more")]
    assert watch.see(talk.fin()) == [Ended(1, TO_RESPONDER, 9)]
    assert watch.see(talk.server_fin()) == [Ended(1, TO_INITIATOR, 6), finished()]
    assert watch.see(talk.ack()) == []
    assert (watch.connections.counts.connections, watch.connections.counts.late_joins) == (1, 0)
    assert watch.budget.held == 0


def test_a_connection_over_ipv6(watch):
    talk = Talk(End("2001:db8::1", 40000, 1), End("2001:db8::2", 80, 1))

    events = watch.see(talk.syn(), way=Way.INCOMING)
    events += watch.see(talk.syn_ack(), way=Way.OUTGOING)
    events += watch.see(talk.says(b"hi"), way=Way.INCOMING)

    assert events == [
        Opened(1, False, Endpoint("2001:db8::1", 40000), Endpoint("2001:db8::2", 80), POD_TIME, "eth0"),
        Data(1, TO_RESPONDER, 0, b"hi"),
    ]


def test_sequence_numbers_that_wrap(watch):
    talk = Talk(End(CLIENT, 40000, 2**32 - 1), End(POD, 80, 2**32 - 3))

    assert watch.see(
        *talk.handshake(), talk.says(b"hello"), talk.answers(b"world"), talk.fin(), talk.server_fin()
    ) == [
        opened(),
        Data(1, TO_RESPONDER, 0, b"hello"),
        Data(1, TO_INITIATOR, 0, b"world"),
        Ended(1, TO_RESPONDER, 5),
        Ended(1, TO_INITIATOR, 5),
        finished(),
    ]


def test_handshake_is_completed_by_the_first_bytes(watch, talk):
    watch.see(talk.syn(), talk.syn_ack())

    assert watch.see(talk.says(b"hi")) == [opened(), Data(1, TO_RESPONDER, 0, b"hi")]


def test_handshake_is_completed_by_a_fin(watch, talk):
    watch.see(talk.syn(), talk.syn_ack())

    assert watch.see(talk.fin(b"bye")) == [
        opened(),
        Data(1, TO_RESPONDER, 0, b"bye"),
        Ended(1, TO_RESPONDER, 3),
    ]


def test_server_that_speaks_first(watch, talk):
    assert watch.see(*talk.handshake(), talk.answers(b"220 ready")) == [
        opened(),
        Data(1, TO_INITIATOR, 0, b"220 ready"),
    ]


def test_retransmitted_handshake_opens_once(watch, talk):
    syn, syn_ack, ack = talk.handshake()

    assert watch.see(syn, syn, syn_ack, syn_ack, ack, ack) == [opened()]
    assert watch.see(syn, syn_ack, talk.says(b"x")) == [Data(1, TO_RESPONDER, 0, b"x")]


def test_syn_that_was_given_up_for_another(watch, talk):
    """The first SYN was never answered; the client tried again from the same port with a new number."""
    watch.see(talk.syn())
    talk.client.next = 777_777

    assert watch.see(*talk.handshake(), talk.says(b"x")) == [opened(2), Data(2, TO_RESPONDER, 0, b"x")]
    assert watch.tracked == 1


def test_initiators_are_told_apart_by_their_ports(watch, talk):
    other = Talk(End(CLIENT, 40001, 1))

    assert watch.see(*talk.handshake(), *other.handshake()) == [opened(1), opened(2, port=40001)]
    assert watch.see(other.says(b"2"), talk.says(b"1")) == [
        Data(2, TO_RESPONDER, 0, b"2"),
        Data(1, TO_RESPONDER, 0, b"1"),
    ]


def test_same_addresses_on_another_interface_are_another_connection(watch, talk):
    watch.see(*talk.handshake())
    other = Talk()

    assert watch.see(*other.handshake(), interface=(3, "eth1")) == [opened(2, interface="eth1")]


def test_ports_that_nobody_subscribed_are_not_followed(watch):
    talk = Talk(server=End(POD, 8080, 1))

    assert watch.see(*talk.handshake(), talk.says(b"x")) == []
    assert watch.tracked == 0


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
    assert watch.budget.held == 0


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
    assert watch.connections.counts.late_joins == 0


def test_syn_ack_was_missed(watch, talk):
    syn, _, ack = talk.handshake()

    assert watch.see(syn, ack) == [opened()]
    assert watch.see(talk.answers(b"hi")) == [Data(1, TO_INITIATOR, 0, b"hi")]


def test_first_bytes_were_missed(watch, talk):
    watch.see(*talk.handshake())
    talk.says(b"GET /")

    assert watch.see(talk.answers(b"200")) == [
        Gap(1, TO_RESPONDER, 0, 5, GapReason.MISSED),
        Data(1, TO_INITIATOR, 0, b"200"),
    ]


def test_last_bytes_of_the_server_were_missed(watch, talk):
    watch.see(*talk.handshake())
    talk.answers(b"200 OK")

    assert watch.see(talk.fin(), talk.server_fin()) == [
        Gap(1, TO_INITIATOR, 0, 6, GapReason.MISSED),
        Ended(1, TO_RESPONDER, 0),
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
    assert (watch.connections.counts.connections, watch.connections.counts.late_joins) == (1, 1)


def test_late_join_names_what_it_misses_from_then_on(watch, talk):
    talk.handshake()
    watch.see(talk.says(b"one"))
    talk.answers(b"1234")

    assert watch.see(talk.says(b"two")) == [
        Gap(1, TO_INITIATOR, 0, 4, GapReason.MISSED),
        Data(1, TO_RESPONDER, 3, b"two"),
    ]


def test_late_join_ignores_retransmissions_from_before(watch, talk):
    talk.handshake()
    before = talk.says(b"before")
    watch.see(talk.says(b"one"))

    assert watch.see(before) == []


# Tombstones.


def test_retransmitted_last_segments_are_no_late_join(watch, talk):
    last, fin, server_fin = None, None, None
    watch.see(*talk.handshake())
    last = talk.says(b"bye")
    fin = talk.fin()
    server_fin = talk.server_fin()
    watch.see(last, fin, server_fin)

    assert watch.see(last, fin, server_fin, talk.ack()) == []
    assert watch.connections.counts.late_joins == 0


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


# Half-close.


def test_server_goes_on_after_the_clients_fin(watch, talk):
    watch.see(*talk.handshake())

    assert watch.see(talk.fin(b"all I want")) == [
        Data(1, TO_RESPONDER, 0, b"all I want"),
        Ended(1, TO_RESPONDER, 10),
    ]
    assert watch.see(talk.answers(b"here"), talk.answers(b" and there")) == [
        Data(1, TO_INITIATOR, 0, b"here"),
        Data(1, TO_INITIATOR, 4, b" and there"),
    ]
    assert watch.see(talk.server_fin()) == [Ended(1, TO_INITIATOR, 14), finished()]


def test_client_goes_on_after_the_servers_fin(watch, talk):
    watch.see(*talk.handshake())

    assert watch.see(talk.server_fin(b"bye")) == [Data(1, TO_INITIATOR, 0, b"bye"), Ended(1, TO_INITIATOR, 3)]
    assert watch.see(talk.says(b"but")) == [Data(1, TO_RESPONDER, 0, b"but")]
    assert watch.see(talk.fin()) == [Ended(1, TO_RESPONDER, 3), finished()]


def test_simultaneous_close(watch, talk):
    watch.see(*talk.handshake())
    fin = talk.fin()
    server_fin = talk.send(talk.server, "F")

    assert watch.see(fin, server_fin) == [Ended(1, TO_RESPONDER, 0), Ended(1, TO_INITIATOR, 0), finished()]


def test_fin_before_the_last_bytes(watch, talk):
    watch.see(*talk.handshake())
    last, fin = talk.says(b"bye"), talk.fin()

    assert watch.see(fin) == []
    assert watch.see(last) == [Data(1, TO_RESPONDER, 0, b"bye"), Ended(1, TO_RESPONDER, 3)]


# Resets.


def test_reset_by_the_initiator(watch, talk):
    watch.see(*talk.handshake())

    assert watch.see(talk.reset()) == [Closed(1, CloseReason.RESET_BY_INITIATOR, 0)]


def test_reset_by_the_responder(watch, talk):
    watch.see(*talk.handshake())

    assert watch.see(talk.server_reset()) == [Closed(1, CloseReason.RESET_BY_RESPONDER, 0)]


def test_reset_discards_what_was_parked(watch, talk):
    watch.see(*talk.handshake())
    talk.says(b"missed")
    watch.see(talk.says(b"parked"))
    assert watch.budget.held == 6 + OVERHEAD_BYTES

    assert watch.see(talk.reset()) == [Closed(1, CloseReason.RESET_BY_INITIATOR, 0)]
    assert watch.budget.held == 0


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

    assert watch.see(talk.reset()) == [Closed(1, CloseReason.RESET_BY_INITIATOR, 0)]


def test_reset_after_the_senders_fin(watch, talk):
    watch.see(*talk.handshake(), talk.fin())

    assert watch.see(talk.reset()) == [Closed(1, CloseReason.RESET_BY_INITIATOR, 0)]


def test_reset_of_a_late_join_before_the_other_end_spoke(watch, talk):
    talk.handshake()
    watch.see(
        talk.segment(talk.client, "P", b"hi")
    )  # without ACK, so nothing is known of the server's numbers

    assert watch.see(talk.server_reset()) == [Closed(1, CloseReason.RESET_BY_RESPONDER, 0)]


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

    assert watch.budget.held == 0


# Which connections are ours.


@pytest.mark.parametrize("port", [80, 8080])
def test_calls_of_the_pod_to_that_port_elsewhere_are_not_ours(port):
    watch = Watch(80, 8080)
    talk = Talk(End(POD, 50000, 1), End("10.9.9.9", port, 1))

    assert (
        watch.see(*talk.handshake(), talk.says(b"GET /"), talk.answers(b"200"), talk.fin(), talk.server_fin())
        == []
    )
    assert watch.tracked == 0


def test_calls_of_the_pod_from_that_port_are_not_ours(watch):
    talk = Talk(End(POD, 80, 1), End("10.9.9.9", 5432, 1))

    assert (
        watch.see(
            *talk.handshake(), talk.says(b"query"), talk.answers(b"rows"), talk.fin(), talk.server_fin()
        )
        == []
    )
    assert watch.connections.counts.late_joins == 0


def test_calls_of_the_pod_between_two_subscribed_ports_are_not_ours():
    watch = Watch(80, 50000)
    talk = Talk(End(POD, 50000, 1), End("10.9.9.9", 80, 1))

    assert watch.see(talk.syn(), talk.syn_ack(), talk.ack(), talk.says(b"query"), talk.answers(b"rows")) == []


def test_loopback_knows_the_responder_by_its_port(watch):
    talk = Talk(End("127.0.0.1", 40000, 1), End("127.0.0.1", 80, 1))

    assert watch.see(
        *talk.handshake(), talk.says(b"hi"), talk.answers(b"ho"), way=Way.EITHER, interface=LO
    ) == [
        Opened(1, False, Endpoint("127.0.0.1", 40000), Endpoint("127.0.0.1", 80), POD_TIME, "lo"),
        Data(1, TO_RESPONDER, 0, b"hi"),
        Data(1, TO_INITIATOR, 0, b"ho"),
    ]


@pytest.mark.parametrize(("initiator", "responder"), [(80, 8080), (8080, 80)])
def test_loopback_with_both_ports_subscribed_knows_the_responder_by_the_handshake(initiator, responder):
    watch = Watch(80, 8080)
    talk = Talk(End("127.0.0.1", initiator, 1), End("127.0.0.1", responder, 1))

    assert watch.see(
        *talk.handshake(),
        talk.says(b"hi"),
        talk.answers(b"ho"),
        talk.fin(),
        talk.server_fin(),
        way=Way.EITHER,
        interface=LO,
    ) == [
        Opened(1, False, Endpoint("127.0.0.1", initiator), Endpoint("127.0.0.1", responder), POD_TIME, "lo"),
        Data(1, TO_RESPONDER, 0, b"hi"),
        Data(1, TO_INITIATOR, 0, b"ho"),
        Ended(1, TO_RESPONDER, 2),
        Ended(1, TO_INITIATOR, 2),
        finished(),
    ]


def test_loopback_with_both_ports_subscribed_and_a_syn_ack_first():
    watch = Watch(80, 8080)
    talk = Talk(End("127.0.0.1", 80, 1), End("127.0.0.1", 8080, 1))
    _, syn_ack, ack = talk.handshake()

    (event,) = watch.see(syn_ack, ack, way=Way.EITHER, interface=LO)

    assert (event.initiator.port, event.responder.port) == (80, 8080)


# Subscriptions.


def test_port_that_is_subscribed_no_more_is_forgotten(watch, talk):
    watch.see(*talk.handshake())
    talk.says(b"missed")
    watch.see(talk.says(b"parked"))

    watch.connections.subscribe(frozenset())

    assert watch.tracked == 0
    assert watch.budget.held == 0
    assert watch.see(talk.says(b"x")) == []


def test_port_that_is_subscribed_again_is_joined_late(watch, talk):
    watch.see(*talk.handshake())
    watch.connections.subscribe(frozenset())
    watch.connections.subscribe(frozenset({80}))

    assert watch.see(talk.says(b"x")) == [opened(2, late=True), Data(2, TO_RESPONDER, 0, b"x")]


def test_other_ports_stay_when_one_goes():
    watch = Watch(80, 81)
    talk = Talk()
    watch.see(*talk.handshake(), *Talk(server=End(POD, 81, 1)).handshake())

    watch.connections.subscribe(frozenset({80}))

    assert watch.tracked == 1
    assert watch.see(talk.says(b"x")) == [Data(1, TO_RESPONDER, 0, b"x")]


# Time and limits.


def test_silent_connection_is_closed_as_idle(watch, talk):
    watch.see(*talk.handshake())

    assert watch.wait(IDLE_SECONDS - 1) == []
    assert watch.wait(EXPIRY_INTERVAL_SECONDS + 1) == [Closed(1, CloseReason.IDLE, 0)]
    assert watch.wait(TOMBSTONE_SECONDS) == []
    assert watch.tracked == 0


def test_keep_alive_probes_keep_a_connection(watch, talk):
    watch.see(*talk.handshake(), talk.says(b"x"))

    for _ in range(5):
        assert watch.wait(IDLE_SECONDS / 2) == []
        assert watch.see(talk.segment(talk.client, "A", sequence=talk.client.next - 1)) == []


def test_idle_limit_gives_back_what_was_parked(talk):
    watch = Watch(idle_seconds=10.0)
    watch.see(*talk.handshake())
    talk.says(b"missed")
    watch.see(talk.says(b"parked"))

    assert watch.wait(20) == [Closed(1, CloseReason.IDLE, 0)]
    assert watch.budget.held == 0


def test_deadline_is_there_while_a_connection_is_known(watch, talk):
    assert watch.connections.next_deadline() is None

    watch.see(talk.syn())

    assert watch.connections.next_deadline() == EXPIRY_INTERVAL_SECONDS
    watch.wait(HANDSHAKE_SECONDS)
    assert watch.connections.next_deadline() is None


def test_full_table_counts_what_it_could_not_follow():
    watch = Watch(max_connections=2)
    talks = [Talk(End(CLIENT, 40000 + number, 1)) for number in range(3)]

    events = [event for talk in talks for event in watch.see(*talk.handshake())]

    assert events == [opened(1), opened(2, port=40001)]
    assert watch.connections.counts.untracked == 2  # its SYN and its SYN-ACK
    assert watch.see(talks[0].says(b"x")) == [Data(1, TO_RESPONDER, 0, b"x")]


def test_full_table_has_room_again_when_tombstones_are_forgotten():
    watch = Watch(max_connections=1)
    first, second = Talk(), Talk(End(CLIENT, 40001, 1))
    watch.see(*first.handshake(), first.fin(), first.server_fin())
    assert watch.see(*second.handshake()) == []

    watch.wait(TOMBSTONE_SECONDS)

    assert watch.see(*Talk(End(CLIENT, 40001, 9)).handshake()) == [opened(2, port=40001)]


def test_full_table_still_takes_a_new_connection_of_a_known_pair():
    watch = Watch(max_connections=1)
    talk = Talk()
    watch.see(*talk.handshake(), talk.reset())

    assert watch.see(*Talk(End(CLIENT, 40000, 90_000)).handshake()) == [opened(2)]


# Anything.

numbers = st.integers(990, 1010) | st.integers(4990, 5010) | st.sampled_from([0, 2**31, 2**32 - 1])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.booleans(),
            st.sampled_from(["S", "SA", "A", "PA", "FA", "R", "RA", "F", "", "SF", "SR"]),
            numbers,
            numbers,
            st.binary(max_size=4),
        ),
        max_size=25,
    )
)
def test_any_dialogue_gives_events_in_an_order_that_makes_sense(steps):
    watch, talk = Watch(), Talk()
    open_numbers: set[int] = set()
    seen: set[int] = set()
    offsets: dict[tuple[int, Direction], int] = {}
    ended: set[tuple[int, Direction]] = set()
    events: list[ConnectionEvent] = []
    for from_client, flags, sequence, acknowledgment, payload in steps:
        sender = talk.client if from_client else talk.server
        events += watch.see(
            talk.segment(sender, flags, payload, sequence=sequence, acknowledgment=acknowledgment)
        )
    events += watch.wait(IDLE_SECONDS)

    for event in events:
        match event:
            case Opened(number):
                assert number not in seen
                seen.add(number)
                open_numbers.add(number)
            case Closed(number):
                assert number in open_numbers
                open_numbers.remove(number)
            case Ended(number, direction, offset):
                assert number in open_numbers
                assert (number, direction) not in ended
                assert offsets.get((number, direction), 0) == offset
                ended.add((number, direction))
            case _:
                key = (event.connection, event.direction)
                assert event.connection in open_numbers
                assert offsets.get(key, 0) == event.offset
                offsets[key] = event.offset + (
                    len(event.payload) if isinstance(event, Data) else event.length
                )
    assert not open_numbers
    assert watch.budget.held == 0
