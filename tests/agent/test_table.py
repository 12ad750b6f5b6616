"""How many connections are followed, and what they may take: nobody can make the agent forget those that are open."""

from podmirror_agent.connections import TOMBSTONE_SECONDS
from podmirror_agent.table import (
    CONNECTION_BYTES,
    TABLE_SHARE,
    TOMBSTONE_BYTES,
    TOMBSTONE_SHARE,
    UNOPENED_SHARE,
)
from podmirror_wire.frames import Data
from tests.agent.packets import CLIENT, POD, End, Talk
from tests.agent.stage import Stage
from tests.agent.watch import TO_RESPONDER, Watch, opened


def talks(number: int) -> list[Talk]:
    return [Talk(End(CLIENT, 1025 + each, 1), End(POD, 80, 1)) for each in range(number)]


def test_full_table_counts_what_it_could_not_follow():
    watch = Watch(max_connections=2)
    talks = [Talk(End(CLIENT, 40000 + number, 1)) for number in range(3)]

    events = [event for talk in talks for event in watch.see(*talk.handshake())]

    assert events == [opened(1), opened(2, port=40001)]
    assert watch.connections.table.untracked == 2  # its SYN and its SYN-ACK
    assert watch.see(talks[0].says(b"x")) == [Data(1, TO_RESPONDER, 0, b"x")]


def test_full_table_still_takes_a_new_connection_of_a_known_pair():
    watch = Watch(max_connections=1)
    talk = Talk()
    watch.see(*talk.handshake(), talk.reset())

    assert watch.see(*Talk(End(CLIENT, 40000, 90_000)).handshake()) == [opened(2)]


def test_tombstones_make_room_for_what_begins():
    watch = Watch(max_connections=1)
    first, second = talks(2)
    watch.see(*first.handshake(), first.fin(), first.server_fin())

    assert watch.see(*second.handshake()) == [opened(2, port=second.client.port)]
    assert watch.tracked == 1


def test_syns_make_room_for_others():
    """Else anybody could keep new connections out for as long as a SYN may go unanswered."""
    watch = Watch(max_connections=3)
    *flood, real = talks(10)
    watch.see(*(talk.syn() for talk in flood))

    assert watch.see(*real.handshake()) == [opened(10, port=real.client.port)]
    assert watch.connections.table.untracked == 0


def test_a_connection_that_nobody_reads_keeps_no_other_from_being_followed():
    stage = Stage(budget=30 * CONNECTION_BYTES)
    session = stage.session(80)
    slow, *others = talks(6)
    stage.see(*slow.handshake())
    stage.frames(session)
    session.outbox._queues[1].credit = 0
    while stage.budget.held + CONNECTION_BYTES < stage.budget.limit:
        stage.see(slow.says(bytes(1000)))

    for each in others:
        stage.see(*each.handshake())

    counts = stage.counts(session)
    assert (counts["untracked"], counts["connections"], counts["cut_connections"]) == (0, 6, 1)
    assert stage.budget.held == 6 * CONNECTION_BYTES


def test_a_flood_of_syns_takes_its_share_and_closes_nothing():
    watch = Watch()
    watch.budget.limit = 40 * CONNECTION_BYTES
    talk, *flood = talks(1000)
    watch.see(*talk.handshake())

    watch.see(*(each.syn() for each in flood))

    assert watch.budget.held == (1 + 40 // UNOPENED_SHARE) * CONNECTION_BYTES
    assert watch.see(talk.says(b"still there")) == [Data(1, TO_RESPONDER, 0, b"still there")]


def test_a_connection_that_a_flood_has_displaced_is_joined_late_at_worst():
    watch = Watch(max_connections=2)
    talk, *flood = talks(10)
    watch.see(talk.syn())
    watch.see(*(each.syn() for each in flood))

    assert watch.see(talk.syn_ack(), talk.ack()) == [opened(11, port=talk.client.port)]

    watch = Watch(max_connections=2)
    talk, *flood = talks(10)
    watch.see(talk.syn(), talk.syn_ack())
    watch.see(*(each.syn() for each in flood), talk.ack())

    assert watch.see(talk.says(b"x")) == [
        opened(11, late=True, port=talk.client.port),
        Data(11, TO_RESPONDER, 0, b"x"),
    ]


def test_tombstones_take_their_share():
    watch = Watch()
    watch.budget.limit = 40 * CONNECTION_BYTES

    for each in talks(100):
        watch.see(*each.handshake(), each.fin(), each.server_fin())

    assert watch.budget.held == 40 * CONNECTION_BYTES // TOMBSTONE_SHARE
    watch.wait(TOMBSTONE_SECONDS)
    assert (watch.budget.held, watch.tracked) == (0, 0)


def test_open_connections_leave_the_other_half_to_bytes():
    watch = Watch()
    watch.budget.limit = 40 * CONNECTION_BYTES

    events = [event for talk in talks(30) for event in watch.see(*talk.handshake())]

    assert len(events) == 40 // TABLE_SHARE
    assert watch.budget.held == watch.budget.limit // TABLE_SHARE
    assert watch.connections.table.untracked


def test_what_waits_takes_what_connections_would():
    watch = Watch()
    watch.budget.limit = 4 * CONNECTION_BYTES
    watch.budget.take(3 * CONNECTION_BYTES + 1)
    (talk,) = talks(1)

    assert watch.see(*talk.handshake()) == []
    assert watch.connections.table.untracked == 2


def test_what_is_taken_is_given_back(talk):
    stage = Stage()
    session = stage.session(80)
    stage.see(*talk.handshake(), talk.says(b"x"))
    assert stage.budget.held == CONNECTION_BYTES

    stage.see(talk.fin(), talk.server_fin())
    stage.frames(session)
    assert stage.budget.held == TOMBSTONE_BYTES

    stage.mirror.expire(TOMBSTONE_SECONDS)
    assert stage.budget.held == 0
