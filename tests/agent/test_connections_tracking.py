"""Which connections are followed, and for how long: our own, those subscribed, within time and limits."""

import pytest

from podmirror_agent.connections import (
    EXPIRY_INTERVAL_SECONDS,
    HANDSHAKE_SECONDS,
    IDLE_SECONDS,
    TOMBSTONE_SECONDS,
)
from podmirror_agent.packet import Way
from podmirror_wire.frames import Closed, Data, Ended, Opened
from podmirror_wire.values import EVERY_PORT, CloseReason, Endpoint
from tests.agent.packets import LO, POD, End, Talk
from tests.agent.watch import POD_TIME, TO_INITIATOR, TO_RESPONDER, Watch, finished, opened

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
    assert watch.buffered == 0
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
    assert watch.buffered == 0


@pytest.mark.parametrize("way", [Way.INCOMING, Way.EITHER], ids=str)
def test_what_goes_from_an_end_to_itself_is_nobodys(way):
    """A forged packet that the kernel drops, or a socket that is connected to itself: it has no responder."""
    for port in (80, EVERY_PORT):
        watch, talk = Watch(port), Talk(End(POD, 80, 1), End(POD, 80, 1))

        assert watch.see(*talk.handshake(), talk.says(b"me"), talk.fin(), way=way) == []
        assert watch.wait(HANDSHAKE_SECONDS) == []
        assert watch.tracked == 0
