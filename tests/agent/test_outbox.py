"""What an outbox lets go and when: by credit and room, after cuts, and at the end of connections."""

from podmirror_agent.budget import OVERHEAD_BYTES, Budget
from podmirror_agent.outbox import HIGH_WATER_BYTES, MAX_WAITING_BYTES
from podmirror_wire.frames import MAX_DATA_BYTES, Ended, Gap, Omitted, Ping
from podmirror_wire.values import CloseReason, GapReason
from tests.agent.outboxes import (
    PLENTY,
    TO_INITIATOR,
    TO_RESPONDER,
    closed,
    data,
    make,
    opened,
    send_for,
    taken,
)

# Credit.


def test_frames_leave_at_once_while_there_is_credit():
    outbox = make()
    frames = [opened(1), data(1, 0, b"hello"), Ended(1, TO_RESPONDER, 5), closed(1)]

    send_for(outbox, *frames)

    assert outbox.has_output
    assert taken(outbox) == frames
    assert not outbox.has_output
    assert outbox.is_dismissed(1)


def test_payload_waits_for_credit_and_leaves_in_pieces():
    outbox = make(window=4)
    send_for(outbox, opened(1), data(1, 0, b"0123456789"))

    assert taken(outbox) == [opened(1), data(1, 0, b"0123")]
    assert outbox.waiting_bytes == 6
    outbox.receive_credit(1, 3)
    assert taken(outbox) == [data(1, 4, b"456")]
    outbox.receive_credit(1, 100)
    assert taken(outbox) == [data(1, 7, b"789")]
    assert outbox.waiting_bytes == 0


def test_credit_that_is_not_used_is_kept():
    outbox = make(window=4)
    send_for(outbox, opened(1), data(1, 0, b"ab"))
    outbox.receive_credit(1, 2)
    send_for(outbox, data(1, 2, b"cdefgh"))

    assert taken(outbox)[1:] == [data(1, 0, b"ab"), data(1, 2, b"cdef")]


def test_frames_without_payload_need_no_credit():
    outbox = make(window=2)
    send_for(
        outbox,
        opened(1),
        data(1, 0, b"ab"),
        Gap(1, TO_RESPONDER, 2, 5, GapReason.MISSED),
        Omitted(1, TO_INITIATOR, 0, 10),
        Ended(1, TO_RESPONDER, 7),
        closed(1),
    )

    assert len(taken(outbox)) == 6


def test_frames_behind_a_payload_that_waits_wait_too():
    outbox = make(window=1)
    send_for(outbox, opened(1), data(1, 0, b"ab"), Ended(1, TO_RESPONDER, 2), closed(1))

    assert taken(outbox) == [opened(1), data(1, 0, b"a")]
    outbox.receive_credit(1, 1)
    assert taken(outbox) == [data(1, 1, b"b"), Ended(1, TO_RESPONDER, 2), closed(1)]


def test_a_stalled_connection_does_not_stall_another():
    outbox = make(window=1)
    send_for(outbox, opened(1), data(1, 0, b"ab"), opened(2), data(2, 0, b"c"))

    assert taken(outbox) == [opened(1), data(1, 0, b"a"), opened(2), data(2, 0, b"c")]


def test_credit_for_a_connection_that_is_not_known_is_ignored():
    outbox = make()

    outbox.receive_credit(9, 1000)

    assert taken(outbox) == []


def test_large_payload_leaves_in_frames_that_a_ping_can_pass():
    outbox = make(window=PLENTY, high_water_bytes=PLENTY)
    payload = bytes(2 * MAX_DATA_BYTES + 1)
    send_for(outbox, opened(1), data(1, 0, payload))

    _, *pieces = taken(outbox)

    assert [len(piece.payload) for piece in pieces] == [MAX_DATA_BYTES, MAX_DATA_BYTES, 1]
    assert [piece.offset for piece in pieces] == [0, MAX_DATA_BYTES, 2 * MAX_DATA_BYTES]


# The tunnel does not keep up.


def test_frames_wait_while_the_output_is_over_its_high_water_mark():
    outbox = make(window=PLENTY, high_water_bytes=100)
    send_for(outbox, opened(1), *(data(1, 50 * number, bytes(50)) for number in range(10)))

    first = outbox.take_output()

    assert 100 <= sum(map(len, first)) < 100 + 50 + 30
    assert outbox.has_output
    assert len(taken(outbox)) == 11 - len(first)


def test_waiting_connections_leave_in_turns():
    outbox = make(window=PLENTY, high_water_bytes=1)
    send_for(outbox, opened(1))
    for number in (1, 2, 3):
        if number > 1:
            send_for(outbox, opened(number))
        send_for(outbox, data(number, 0, b"a"), data(number, 1, b"b"))

    turns = [frame.connection for frame in taken(outbox)]

    assert turns == [1, 1, 2, 3, 1, 2, 3, 2, 3]


def test_session_frames_pass_waiting_ones():
    outbox = make(window=PLENTY, high_water_bytes=1)
    send_for(outbox, opened(1), data(1, 0, b"waits"))
    outbox.send(Ping(1, 2))

    assert taken(outbox) == [opened(1), Ping(1, 2), data(1, 0, b"waits")]


# Cuts.


def test_connection_is_cut_when_too_much_waits_for_it():
    budget = Budget(PLENTY)
    outbox = make(window=4, budget=budget, max_waiting_bytes=2 * OVERHEAD_BYTES + 100)
    send_for(outbox, opened(1), data(1, 0, bytes(4)), data(1, 4, bytes(60)))
    taken(outbox)

    send_for(outbox, data(1, 64, bytes(60)))

    assert taken(outbox) == [closed(1, CloseReason.CUT, 120)]
    assert (outbox.cut_connections, outbox.cut_bytes) == (1, 120)
    assert budget.held == 0
    assert outbox.is_dismissed(1)


def test_frames_after_the_cut_are_dropped_and_their_bytes_are_counted():
    outbox = make(window=0, max_waiting_bytes=OVERHEAD_BYTES)
    send_for(outbox, opened(1), data(1, 0, b"x"))
    taken(outbox)

    send_for(outbox, data(1, 1, b"y"), Ended(1, TO_RESPONDER, 2), closed(1))

    assert taken(outbox) == []
    assert outbox.cut_bytes == 2


def test_cut_counts_what_was_sent_in_part_once():
    outbox = make(window=4, max_waiting_bytes=OVERHEAD_BYTES + 20)
    send_for(outbox, opened(1), data(1, 0, bytes(10)), data(1, 10, bytes(20)))

    assert taken(outbox)[-1] == closed(1, CloseReason.CUT, 26)


def test_layer_learns_of_a_connection_before_it_learns_of_its_cut():
    outbox = make(window=PLENTY, high_water_bytes=1, max_waiting_bytes=2 * OVERHEAD_BYTES + 1)
    outbox.send(Ping(1, 1))
    send_for(outbox, opened(1), data(1, 0, b"x"), data(1, 1, b"y"))

    assert taken(outbox) == [Ping(1, 1), opened(1), closed(1, CloseReason.CUT, 2)]


def test_shared_budget_cuts_the_largest():
    budget = Budget(1000 + 3 * OVERHEAD_BYTES)
    outbox = make(window=0, budget=budget)
    send_for(outbox, opened(1), opened(2), opened(3))
    send_for(outbox, data(1, 0, bytes(200)), data(2, 0, bytes(600)))
    taken(outbox)

    send_for(outbox, data(3, 0, bytes(300)))

    assert taken(outbox) == [closed(2, CloseReason.CUT, 600)]
    assert outbox.waiting_bytes == 500
    assert budget.held == 500 + 2 * OVERHEAD_BYTES


def test_shared_budget_cuts_the_newcomer_if_it_is_the_largest():
    budget = Budget(500)
    outbox = make(window=0, budget=budget)
    send_for(outbox, opened(1), data(1, 0, bytes(600)))

    assert taken(outbox) == [opened(1), closed(1, CloseReason.CUT, 600)]
    assert budget.held == 0


def test_budget_that_others_use_up_cuts_without_end():
    budget = Budget(1000)
    budget.take(1000)
    outbox = make(window=0, budget=budget, high_water_bytes=1)
    send_for(outbox, opened(1), opened(2), opened(3))

    assert taken(outbox) == [
        opened(1),
        opened(2),
        closed(2, CloseReason.CUT),
        opened(3),
        closed(3, CloseReason.CUT),
    ]
    assert budget.held == 1000


def test_limits_have_their_reasons():
    assert (MAX_WAITING_BYTES, HIGH_WATER_BYTES) == (12 << 20, 1 << 20)


# Bytes that nobody asked for.


def test_omitted_bytes_that_wait_become_one_frame():
    outbox = make(window=0)
    send_for(
        outbox,
        opened(1),
        data(1, 0, b"x"),
        Omitted(1, TO_INITIATOR, 0, 10),
        Omitted(1, TO_INITIATOR, 10, 5),
        Omitted(1, TO_INITIATOR, 15, 1),
    )
    outbox.receive_credit(1, 1)

    assert taken(outbox) == [opened(1), data(1, 0, b"x"), Omitted(1, TO_INITIATOR, 0, 16)]


def test_omitted_bytes_become_one_frame_only_with_their_direction_and_without_a_frame_between():
    outbox = make(window=0)
    waiting = [
        data(1, 0, b"x"),
        Omitted(1, TO_INITIATOR, 0, 10),
        Omitted(1, TO_RESPONDER, 1, 10),
        Omitted(1, TO_INITIATOR, 10, 10),
        Gap(1, TO_INITIATOR, 20, 1, GapReason.MISSED),
        Omitted(1, TO_INITIATOR, 21, 10),
    ]
    send_for(outbox, opened(1), *waiting)
    outbox.receive_credit(1, 1)

    assert taken(outbox) == [opened(1), *waiting]


def test_omitted_bytes_after_the_layer_took_the_last_are_a_new_frame():
    outbox = make()
    send_for(outbox, opened(1), Omitted(1, TO_INITIATOR, 0, 10))
    taken(outbox)
    send_for(outbox, Omitted(1, TO_INITIATOR, 10, 10))

    assert taken(outbox) == [Omitted(1, TO_INITIATOR, 10, 10)]


# The end of connections and sessions.


def test_frames_of_a_connection_that_was_never_opened_here_are_dropped():
    outbox = make()
    send_for(outbox, data(1, 0, b"x"), closed(1))

    assert taken(outbox) == []
    assert outbox.is_dismissed(1)


def test_close_all_closes_after_what_waits():
    outbox = make(window=1)
    send_for(outbox, opened(1), data(1, 0, b"ab"), opened(2), opened(3))
    taken(outbox)

    outbox.close_all(lambda number: number < 3, CloseReason.UNSUBSCRIBED)

    assert taken(outbox) == [closed(2, CloseReason.UNSUBSCRIBED)]
    outbox.receive_credit(1, 1)
    assert taken(outbox) == [data(1, 1, b"b"), closed(1, CloseReason.UNSUBSCRIBED)]
    assert not outbox.is_dismissed(3)


def test_second_close_is_dropped_and_costs_nothing():
    budget = Budget(PLENTY)
    outbox = make(window=1, budget=budget)
    send_for(outbox, opened(1), data(1, 0, b"ab"), closed(1))
    outbox.close_all(lambda _: True, CloseReason.AGENT_ENDED)
    outbox.receive_credit(1, 1)

    assert taken(outbox)[-2:] == [data(1, 1, b"b"), closed(1)]
    assert budget.held == 0


def test_discard_gives_all_back():
    budget = Budget(PLENTY)
    outbox = make(window=0, budget=budget)
    send_for(outbox, opened(1), data(1, 0, b"x"), opened(2), data(2, 0, b"y"))

    outbox.discard()

    assert budget.held == 0
    assert not outbox.has_output
    assert taken(outbox) == []
