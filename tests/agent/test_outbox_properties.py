"""Whatever the interleaving and the limits, an outbox keeps the order and its accounts."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podmirror_agent.budget import Budget
from podmirror_agent.outbox import HIGH_WATER_BYTES
from podmirror_wire.decoder import Decoder
from podmirror_wire.frames import AnyFrame, Closed, Data, Ended, Gap
from podmirror_wire.values import GapReason
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
from tests.fuzzing import examples

# Any interleaving.


@dataclasses.dataclass
class Plan:
    """What one connection is to send."""

    frames: list[AnyFrame]
    sent: int = 0


plans = st.lists(
    st.lists(st.integers(0, 12) | st.sampled_from(["gap", "end"]), max_size=8), min_size=1, max_size=4
)


def frames_of(number: int, steps: list[int | str]) -> list[AnyFrame]:
    frames: list[AnyFrame] = [opened(number)]
    offset = 0
    for step in steps:
        match step:
            case int() if step:
                frames.append(data(number, offset, bytes((number,)) * step))
                offset += step
            case "gap":
                frames.append(Gap(number, TO_RESPONDER, offset, 3, GapReason.MISSED))
                offset += 3
            case "end":
                frames.append(Ended(number, TO_INITIATOR, offset))
    return [*frames, closed(number)]


def joined(frames: list[AnyFrame]) -> list[AnyFrame]:
    """Put data frames that follow one another together again."""
    result: list[AnyFrame] = []
    for frame in frames:
        last = result[-1] if result else None
        if isinstance(frame, Data) and isinstance(last, Data):
            assert frame.offset == last.offset + len(last.payload)
            result[-1] = dataclasses.replace(last, payload=last.payload + frame.payload)
        else:
            result.append(frame)
    return result


@settings(max_examples=examples(150), deadline=None)
@given(
    plans=plans,
    window=st.integers(0, 20),
    high_water=st.sampled_from([1, 60, HIGH_WATER_BYTES]),
    choices=st.lists(st.tuples(st.sampled_from(["send", "credit", "take"]), st.integers(0, 30)), max_size=60),
)
def test_any_interleaving_keeps_the_order_and_never_exceeds_the_credit(plans, window, high_water, choices):
    budget = Budget(PLENTY)
    outbox = make(window=window, budget=budget, high_water_bytes=high_water)
    planned = [Plan(frames_of(number, steps)) for number, steps in enumerate(plans)]
    credit = [window] * len(planned)
    received: list[list[AnyFrame]] = [[] for _ in planned]
    decoder = Decoder()

    def take() -> None:
        for frame in decoder.receive_data(b"".join(outbox.take_output())):
            received[frame.connection].append(frame)
            if isinstance(frame, Data):
                assert frame.payload
                credit[frame.connection] -= len(frame.payload)
                assert credit[frame.connection] >= 0

    for choice, value in choices:
        number = value % len(planned)
        plan = planned[number]
        if choice == "send" and plan.sent < len(plan.frames):
            outbox.send_for(plan.frames[plan.sent])
            plan.sent += 1
        elif choice == "credit" and plan.sent:
            outbox.receive_credit(number, value)
            credit[number] += value
        elif choice == "take":
            take()
            for other, frames in zip(planned, received, strict=True):
                sent, got = joined(other.frames[: other.sent]), joined(frames)
                assert len(got) <= len(sent)
                assert got[:-1] == sent[: max(len(got) - 1, 0)]

    for number, plan in enumerate(planned):
        for frame in plan.frames[plan.sent :]:
            outbox.send_for(frame)
        outbox.receive_credit(number, 1000)
        credit[number] += 1000
    while outbox.has_output:
        take()
    assert [joined(frames) for frames in received] == [joined(plan.frames) for plan in planned]
    assert budget.held == 0
    assert outbox.waiting_bytes == 0


@settings(max_examples=examples(100), deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 400)), max_size=40),
    limit=st.integers(0, 4000),
    own_limit=st.integers(0, 3000),
    high_water=st.sampled_from([1, HIGH_WATER_BYTES]),
)
def test_any_cut_is_told_once_and_counted_to_the_byte(sizes, limit, own_limit, high_water):
    budget = Budget(limit)
    outbox = make(window=50, budget=budget, max_waiting_bytes=own_limit, high_water_bytes=high_water)
    offsets = dict.fromkeys(range(4), 0)
    refused = dict.fromkeys(range(4), 0)
    for number in range(4):
        outbox.send_for(opened(number))
    for number, size in sizes:
        if outbox.is_dismissed(number):
            refused[number] += size
        outbox.send_for(data(number, offsets[number], bytes(size)))
        offsets[number] += size
        assert budget.held <= limit
    for number in range(4):
        outbox.receive_credit(number, 100_000)

    frames = taken(outbox)
    for number in range(4):
        outbox.send_for(closed(number))
    frames += taken(outbox)

    for number in range(4):
        first, *pieces, last = [frame for frame in frames if frame.connection == number]
        assert first == opened(number)
        assert isinstance(last, Closed)
        sent = sum(len(piece.payload) for piece in pieces)
        assert sent + last.unsent + refused[number] == offsets[number]
    unsent = sum(frame.unsent for frame in frames if isinstance(frame, Closed))
    assert outbox.cut_bytes == unsent + sum(refused.values())
    assert budget.held == 0


@pytest.mark.parametrize("reopened", ["while it waits", "while it flows"])
def test_connection_number_is_never_used_twice_at_a_time(reopened):
    """The budget must come back whatever a caller does."""
    budget = Budget(PLENTY)
    outbox = make(window=0 if reopened == "while it waits" else 100, budget=budget)
    send_for(outbox, opened(1), data(1, 0, b"x"), closed(1))

    send_for(outbox, opened(1))
    outbox.discard()

    assert budget.held == 0
