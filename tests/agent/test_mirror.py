"""From packets to the frames of a layer, with nothing but memory between, and the ledger of them."""

from podmirror_agent.connections import IDLE_SECONDS
from podmirror_agent.packet import CapturedPacket, Way
from podmirror_agent.table import CONNECTION_BYTES
from podmirror_wire.frames import Closed, Data, Ended, Gap, Omitted, Subscribe, Subscribed
from podmirror_wire.values import CloseReason, GapReason
from tests.agent import packets
from tests.agent.packets import CLIENT, POD, End, Talk
from tests.agent.stage import POD_TIME, TO_INITIATOR, TO_RESPONDER, Stage, opened

# One layer.


def test_a_connection_reaches_the_layer(stage, talk):
    session = stage.session(80, responder="bytes")

    stage.see(*talk.handshake(), talk.says(b"GET /"), talk.answers(b"200"), talk.fin(), talk.server_fin())

    assert stage.frames(session) == [
        opened(),
        Data(1, TO_RESPONDER, 0, b"GET /"),
        Data(1, TO_INITIATOR, 0, b"200"),
        Ended(1, TO_RESPONDER, 5),
        Ended(1, TO_INITIATOR, 3),
        Closed(1, CloseReason.FINISHED, 0),
    ]


def test_answers_are_told_by_their_length_unless_they_are_asked_for(stage, talk):
    default, lengths = stage.session(80), stage.session(80, responder="lengths")

    stage.see(*talk.handshake(), talk.answers(b"200 OK"))

    expected = [opened(), Omitted(1, TO_INITIATOR, 0, 6)]
    assert stage.frames(default) == expected
    assert stage.frames(lengths) == expected


def test_subscription_is_acknowledged_with_the_pods_time(stage):
    session = stage.mirror.add_session()

    stage.tell(session, Subscribe(7, 80))

    assert stage.frames(session) == [Subscribed(7, POD_TIME)]
    assert stage.mirror.interest.ports == {80}


def test_nothing_is_mirrored_before_a_subscription(stage, talk):
    session = stage.session()

    stage.see(*talk.handshake(), talk.says(b"x"))

    assert stage.frames(session) == []
    assert stage.mirror.interest.ports == frozenset()


def test_gap_is_told_and_counted(stage, talk):
    session = stage.session(80)
    stage.see(*talk.handshake())
    talk.says(b"missed")

    stage.see(talk.server_ack(), talk.says(b"x"))

    assert stage.frames(session)[1:] == [
        Gap(1, TO_RESPONDER, 0, 5, GapReason.MISSED),
        Gap(1, TO_RESPONDER, 5, 1, GapReason.MISSED),
        Data(1, TO_RESPONDER, 6, b"x"),
    ]
    assert (stage.counts(session)["gaps"], stage.counts(session)["gap_bytes"]) == (1, 6)


def test_gap_in_answers_that_nobody_asked_for_is_no_loss(stage, talk):
    default, wants = stage.session(80), stage.session(80, responder="bytes")
    stage.see(*talk.handshake())
    talk.answers(b"missed")

    stage.see(talk.ack())

    assert (
        stage.frames(default)[1:] == stage.frames(wants)[1:] == [Gap(1, TO_INITIATOR, 0, 5, GapReason.MISSED)]
    )
    assert stage.counts(default)["gap_bytes"] == 0
    assert stage.counts(wants)["gap_bytes"] == 5


def test_idle_connection_is_closed(stage, talk):
    session = stage.session(80)
    stage.see(*talk.handshake())

    stage.mirror.expire(IDLE_SECONDS + 10)

    assert stage.frames(session) == [opened(), Closed(1, CloseReason.IDLE, 0)]


def test_successor_of_a_connection_that_was_reset_is_no_fault(stage, talk):
    """A SYN on an open connection, its reset, and the SYN-ACK to a second SYN that the capture missed."""
    session = stage.session(80)
    again = Talk(End(CLIENT, 40000, 90_000), End(POD, 80, 70_000))
    stage.see(*talk.handshake(), again.syn(), talk.segment(talk.client, "R"))

    stage.see(again.syn_ack(), again.ack())

    assert stage.frames(session) == [opened(), Closed(1, CloseReason.RESET_BY_INITIATOR, 0), opened(2)]


# The end.


def test_connections_are_closed_towards_every_layer_when_the_agent_ends(stage, talk):
    first, second = stage.session(80), stage.session(80)
    stage.see(*talk.handshake())

    stage.mirror.close_connections(CloseReason.AGENT_ENDED)

    expected = [opened(), Closed(1, CloseReason.AGENT_ENDED, 0)]
    assert stage.frames(first) == stage.frames(second) == expected


# The ledger.


def test_gap_that_grows_counts_once_whatever_other_connections_miss(stage, talk):
    session = stage.session(80)
    other = Talk(End(CLIENT, 40001, 7000), End(POD, 80, 9000))
    stage.see(*talk.handshake(), *other.handshake())
    for _ in range(3):
        for each in (talk, other):
            each.says(b"missed")
            stage.see(each.server_ack())

    counts = stage.counts(session)
    assert (counts["gaps"], counts["gap_bytes"]) == (2, 2 * (3 * 6 - 1))  # the last may have been a FIN


def test_ledger_counts_what_was_seen_and_lost(stage, talk):
    session = stage.session(80)
    stage.see(*talk.handshake(), talk.says(b"hello"), talk.answers(b"200"))
    talk.says(b"missed")
    stage.see(talk.server_ack())
    stage.see(Talk(End(CLIENT, 50000, 1), End(POD, 80, 1)).segment(End(CLIENT, 50000, 1), "A"))
    malformed = packets.ethernet(b"\x45" + bytes(8))
    fragment = packets.ethernet(packets.ipv4(CLIENT, POD, b"", fragment=0x2000))
    arp = packets.ethernet(bytes(46), ethertype=0x0806)
    for packet in (malformed, fragment, fragment, arp):
        stage.see_packets(
            CapturedPacket(memoryview(packet), len(packet), Way.INCOMING, packets.ETH0, POD_TIME)
        )

    assert stage.counts(session, drops=7) == {
        "connections": 1,
        "late_joins": 0,
        "waiting_bytes": 0,
        "bytes_seen": 5,
        "gaps": 1,
        "gap_bytes": 5,
        "shed_connections": 0,
        "shed_bytes": 0,
        "buffer_bytes": CONNECTION_BYTES,
        "sampled_out_connections": 0,
        "cut_connections": 0,
        "cut_bytes": 0,
        "kernel_drops": 7,
        "packets": 11,
        "fragments": 2,
        "fragments_lost": 2,
        "malformed": 1,
        "untracked": 0,
    }


def test_what_waited_behind_a_hole_comes_whole_when_that_is_filled(stage, talk):
    """Six MiB, as much as Linux's largest default receive buffer holds."""
    session = stage.session(80, window=str(64 << 20))
    missing = talk.handshake(), talk.says(b"first")
    behind = [talk.says(bytes([number]) * 65_000) for number in range(96)]

    stage.see(*missing[0], *behind, missing[1])

    told = [frame for frame in stage.frames(session) if isinstance(frame, Data)]
    assert b"".join(frame.payload for frame in told) == b"first" + b"".join(each.payload for each in behind)
    assert stage.counts(session)["cut_connections"] == 0


def test_ledger_counts_what_was_cut(talk):
    stage = Stage(budget=2 * CONNECTION_BYTES)
    session = stage.session(80, window="1")

    stage.see(*talk.handshake(), talk.says(bytes(1001)), talk.says(bytes(2000)))

    assert stage.frames(session)[-1] == Closed(1, CloseReason.CUT, 3000)
    assert stage.counts(session)["cut_connections"] == 1
    assert stage.counts(session)["cut_bytes"] == 3000


def test_ledger_of_each_layer_counts_its_own(stage, talk):
    first, second = stage.session(80), stage.session(8080)

    stage.see(*talk.handshake(), talk.says(b"hello"))

    assert stage.counts(first)["bytes_seen"] == 5
    assert stage.counts(second)["bytes_seen"] == 0


def test_ledger_counts_answers_only_where_they_are_asked_for(stage, talk):
    default, wants = stage.session(80), stage.session(80, responder="bytes")

    stage.see(*talk.handshake(), talk.answers(b"200"))

    assert stage.counts(default)["bytes_seen"] == 0
    assert stage.counts(wants)["bytes_seen"] == 3


def test_sessions_have_identifiers_of_their_own():
    stage = Stage()

    assert len({stage.session().identifier for _ in range(10)}) == 10
