"""Where a connection is followed: on the interface that shows it first, and on another when it moves there."""

from podmirror_wire.frames import Closed, Data, Ended, Gap
from podmirror_wire.values import CloseReason, GapReason
from tests.agent.packets import ETH0
from tests.agent.watch import TO_INITIATOR, TO_RESPONDER, finished, opened

BR0 = (7, "br0")


def test_connection_that_shows_on_two_interfaces_is_one(watch, talk):
    """A bridge and its port, a VLAN and its parent: the same packets, twice."""
    events = []
    for segment in (
        *talk.handshake(),
        talk.says(b"once"),
        talk.answers(b"yes"),
        talk.fin(),
        talk.server_fin(),
    ):
        events += watch.see(segment) + watch.see(segment, interface=(7, "br0"))

    assert events == [
        opened(),
        Data(1, TO_RESPONDER, 0, b"once"),
        Data(1, TO_INITIATOR, 0, b"yes"),
        Ended(1, TO_RESPONDER, 4),
        Ended(1, TO_INITIATOR, 3),
        finished(),
    ]


def test_connection_goes_on_on_another_interface(watch, talk):
    """The member of a bond has failed, or the interface was removed and made anew."""
    watch.see(*talk.handshake(), talk.says(b"one"), talk.answers(b"1"))

    assert watch.see(talk.says(b"two"), talk.answers(b"2"), interface=BR0) == [
        Data(1, TO_RESPONDER, 3, b"two"),
        Data(1, TO_INITIATOR, 1, b"2"),
    ]
    assert watch.see(talk.fin(), talk.server_fin(), interface=BR0) == [
        Ended(1, TO_RESPONDER, 6),
        Ended(1, TO_INITIATOR, 2),
        finished(),
    ]


def test_what_is_lost_on_the_way_to_another_interface_is_named(watch, talk):
    watch.see(*talk.handshake(), talk.says(b"one"))
    talk.says(b"missed")

    assert watch.see(talk.says(b"two"), talk.server_ack(), interface=BR0) == [
        Gap(1, TO_RESPONDER, 3, 6, GapReason.MISSED),
        Data(1, TO_RESPONDER, 9, b"two"),
    ]
    assert watch.see(talk.says(b"three"), interface=BR0) == [Data(1, TO_RESPONDER, 12, b"three")]


def test_what_one_interface_has_missed_is_taken_from_the_other(watch, talk):
    watch.see(*talk.handshake())
    first, second = talk.says(b"dropped on eth0"), talk.says(b"on both")

    assert watch.see(first, interface=BR0) == [Data(1, TO_RESPONDER, 0, b"dropped on eth0")]
    assert watch.see(second, interface=ETH0) == [Data(1, TO_RESPONDER, 15, b"on both")]
    assert watch.see(second, interface=BR0) == []


def test_reset_on_another_interface_ends_a_connection(watch, talk):
    watch.see(*talk.handshake(), talk.says(b"one"))

    assert watch.see(talk.reset(), interface=BR0) == [Closed(1, CloseReason.RESET_BY_INITIATOR, 0)]
    assert watch.see(talk.reset(), interface=ETH0) == []
