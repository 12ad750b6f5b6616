"""Dialogues: each test is a conversation as the wire shows it, and what the layer is told of it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from podmirror_agent.connections import IDLE_SECONDS, ConnectionEvent
from podmirror_agent.packet import Way
from podmirror_wire.frames import Closed, Data, Ended, Opened
from podmirror_wire.values import Direction, Endpoint
from tests.agent.packets import CLIENT, POD, End, Talk
from tests.agent.watch import POD_TIME, TO_INITIATOR, TO_RESPONDER, Watch, finished, opened
from tests.fuzzing import examples

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
    assert watch.buffered == 0


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


def test_ports_that_nobody_subscribed_are_not_followed(watch):
    talk = Talk(server=End(POD, 8080, 1))

    assert watch.see(*talk.handshake(), talk.says(b"x")) == []
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
    server_fin = talk.send(talk.server, "FA")

    assert watch.see(fin, server_fin) == [Ended(1, TO_RESPONDER, 0), Ended(1, TO_INITIATOR, 0), finished()]


def test_fin_before_the_last_bytes(watch, talk):
    watch.see(*talk.handshake())
    last, fin = talk.says(b"bye"), talk.fin()

    assert watch.see(fin) == []
    assert watch.see(last) == [Data(1, TO_RESPONDER, 0, b"bye"), Ended(1, TO_RESPONDER, 3)]


# Anything.

numbers = st.integers(990, 1010) | st.integers(4990, 5010) | st.sampled_from([0, 2**31, 2**32 - 1])


@settings(max_examples=examples(200), deadline=None)
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
    assert watch.buffered == 0
