"""Connections that are shed to keep to a CPU budget: named, and their bytes counted from their ends."""

import pytest

from podmirror_agent.connection import Shed
from podmirror_agent.filters import connection_class
from podmirror_agent.governor import ALL_KEPT
from podmirror_wire.frames import Closed, Data
from podmirror_wire.values import CloseReason, Direction
from tests.agent.packets import CLIENT, POD, End, Talk
from tests.agent.watch import TO_RESPONDER, finished, opened

KEPT = 128
PORTS = range(40000, 40100)
SHED_PORT = next(port for port in PORTS if connection_class(port) >= KEPT)
KEPT_PORT = next(port for port in PORTS if connection_class(port) < KEPT)


def talk_from(port: int, sequence: int = 1000) -> Talk:
    return Talk(End(CLIENT, port, sequence), End(POD, 80, 5000))


@pytest.fixture
def talk() -> Talk:
    return talk_from(SHED_PORT)


def test_classes_are_about_equal_in_size():
    sizes = [0] * ALL_KEPT
    for port in range(32768, 61000, 2):  # Linux gives out even ports first
        sizes[connection_class(port)] += 1

    assert min(sizes) > 0.8 * sum(sizes) / ALL_KEPT


def test_open_connection_is_closed_as_shed_and_its_rest_is_counted(watch, talk):
    watch.see(*talk.handshake(), talk.says(b"mirrored"))

    assert watch.connections.keep(KEPT) == [Closed(1, CloseReason.SHED, 0), Shed(80, 1, 0)]
    talk.says(bytes(1000))  # does not pass the filter
    assert watch.see(talk.fin(b"end")) == [Shed(80, 0, 1003)]
    talk.answers(bytes(500))
    assert watch.see(talk.server_fin()) == [Shed(80, 0, 500)]


def test_answers_that_nobody_wants_are_not_counted(watch, talk):
    watch.connections.table.wants_responder_bytes = False
    watch.see(*talk.handshake())
    watch.connections.keep(KEPT)

    talk.answers(bytes(500))

    assert watch.see(talk.fin(), talk.server_fin()) == [Shed(80, 0, 0)]


def test_connection_that_is_shed_from_its_beginning(watch, talk):
    watch.connections.keep(KEPT)

    assert watch.see(talk.syn(), talk.syn_ack()) == [Shed(80, 1, 0)]
    talk.client.next = (talk.client.next + (3 << 30)) & 0xFFFFFFFF
    assert watch.see(talk.fin()) == [Shed(80, 0, 3 << 30)]
    assert watch.see(talk.server_fin()) == [Shed(80, 0, 0)]


def test_bytes_of_a_shed_connection_that_pass_the_filter_are_not_mirrored(watch, talk):
    """Those that were in the ring before the filter was changed."""
    watch.see(*talk.handshake())
    watch.connections.keep(KEPT)

    assert watch.see(talk.says(b"x"), talk.answers(b"y"), talk.server_ack()) == []
    assert watch.see(talk.fin()) == [Shed(80, 0, 1)]


def test_reset_counts_too_and_once(watch, talk):
    watch.connections.keep(KEPT)
    watch.see(talk.syn(), talk.syn_ack())
    talk.says(bytes(10))

    assert watch.see(talk.reset(), talk.reset()) == [Shed(80, 0, 10)]


def test_refused_connection_is_not_counted(watch, talk):
    watch.connections.keep(KEPT)

    assert watch.see(talk.syn(), talk.server_reset()) == []


def test_retransmitted_ends_count_once(watch, talk):
    watch.connections.keep(KEPT)
    syn, syn_ack = talk.syn(), talk.syn_ack()
    talk.says(bytes(10))
    fin = talk.fin()

    assert watch.see(syn, syn, syn_ack, syn_ack, fin, fin) == [Shed(80, 1, 0), Shed(80, 0, 10)]


def test_other_classes_are_mirrored_as_ever(watch):
    talk = talk_from(KEPT_PORT)
    watch.connections.keep(KEPT)

    events = watch.see(*talk.handshake(), talk.says(b"hello"), talk.fin(), talk.server_fin())

    assert events[:2] == [opened(port=KEPT_PORT), Data(1, TO_RESPONDER, 0, b"hello")]
    assert events[-1] == finished()


def test_connection_stays_shed_to_its_end_and_its_successor_is_mirrored(watch, talk):
    watch.connections.keep(KEPT)
    watch.see(talk.syn(), talk.syn_ack())
    watch.connections.keep(ALL_KEPT)

    assert watch.see(talk.says(b"x")) == []
    assert watch.see(talk.fin(), talk.server_fin()) == [Shed(80, 0, 1), Shed(80, 0, 0)]
    again = talk_from(SHED_PORT, sequence=90_000)
    assert watch.see(*again.handshake()) == [opened(2, port=SHED_PORT)]


def test_shedding_gives_back_what_was_parked(watch, talk):
    watch.see(*talk.handshake())
    talk.says(b"missed")
    watch.see(talk.says(b"parked"))
    assert watch.buffered

    watch.connections.keep(0)

    assert watch.buffered == 0


def test_shed_connections_are_counted_for_the_layers_of_their_port(stage, talk):
    theirs, others = stage.session(80), stage.session(8080)
    stage.see(*talk.handshake(), talk.says(b"hello"))
    stage.mirror.keep(KEPT)
    stage.see(talk.fin(bytes(7)))

    frames = stage.frames(theirs)
    assert frames[1:] == [Data(1, Direction.TO_RESPONDER, 0, b"hello"), Closed(1, CloseReason.SHED, 0)]
    assert (stage.counts(theirs)["shed_connections"], stage.counts(theirs)["shed_bytes"]) == (1, 7)
    assert (stage.counts(others)["shed_connections"], stage.counts(others)["shed_bytes"]) == (0, 0)
    assert stage.mirror.interest.kept == KEPT


def test_reset_by_the_responder_tells_what_the_initiator_sent(watch, talk):
    watch.see(*talk.handshake(), talk.says(b"mirrored"))
    watch.connections.keep(0)
    talk.says(b"not seen, but acknowledged")

    assert watch.see(talk.server_reset()) == [Shed(80, 0, 0), Shed(80, 0, 26)]


def test_reset_by_the_responder_after_the_initiators_end_counts_nothing_twice(watch, talk):
    watch.see(*talk.handshake())
    watch.connections.keep(0)
    talk.says(b"hello")

    assert watch.see(talk.fin(), talk.server_reset()) == [Shed(80, 0, 5), Shed(80, 0, 0)]
