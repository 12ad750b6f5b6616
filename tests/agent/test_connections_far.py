"""A capture that stood still for so long that more has passed than any window is wide."""

import pytest

from podmirror_agent.stream import FAR_BEHIND, MAX_WINDOW
from podmirror_wire.frames import Data, Gap
from podmirror_wire.values import Direction, GapReason
from tests.agent.packets import Talk
from tests.agent.pairs import Pair, passing
from tests.agent.watch import TO_INITIATOR, TO_RESPONDER

JUMPS = [
    MAX_WINDOW - 1,
    MAX_WINDOW,
    MAX_WINDOW + 1,
    2**31 - 1,
    2**31,
    2**31 + 1,
    3 * 2**30,
    2**32 - FAR_BEHIND - 2000,
]


@pytest.mark.parametrize("missed", JUMPS, ids=str)
@pytest.mark.parametrize("direction", Direction)
def test_however_much_was_missed_is_named(missed, direction):
    pair, talk = Pair(), Talk()
    pair.see(*map(passing, [*talk.handshake(), talk.says(b"a"), talk.answers(b"b")]))
    sender = talk.client if direction is TO_RESPONDER else talk.server
    says, heard = (talk.says, talk.server_ack) if direction is TO_RESPONDER else (talk.answers, talk.ack)
    sender.next = (sender.next + missed) & 0xFFFFFFFF
    pair.received = [[], []]
    bodies = [bytes([number]) * 1000 for number in range(5)]

    for body in bodies:
        pair.see(passing(says(body)), passing(heard()))

    assert pair.told[0] == pair.told[1]
    told = [each for each in pair.told[0][1] if each.direction is direction]
    sent, at = b"".join(bodies), 1
    for each in told:
        assert each.offset == at
        if isinstance(each, Gap):
            assert each.reason is GapReason.MISSED
            at += each.length
        else:
            assert each.payload == sent[at - 1 - missed :][: len(each.payload)]
            at += len(each.payload)
    assert isinstance(told[0], Gap)
    assert isinstance(told[-1], Data)
    assert at == 1 + missed + len(sent)


def test_a_segment_from_nowhere_changes_nothing(watch, talk):
    watch.see(*talk.handshake(), talk.says(b"a"), talk.answers(b"b"))
    far = talk.segment(talk.client, "PA", b"forged", sequence=talk.client.next + 2**31)

    assert watch.see(far, talk.server_ack(), far, talk.answers(b"!")) == [Data(1, TO_INITIATOR, 1, b"!")]
    assert watch.see(talk.says(b"b")) == [Data(1, TO_RESPONDER, 1, b"b")]
    assert all(stream.ready for stream in watch.connections.table.get(1).streams)


def test_an_acknowledgment_from_nowhere_changes_nothing(watch, talk):
    watch.see(*talk.handshake(), talk.says(b"a"), talk.answers(b"b"))

    assert watch.see(talk.segment(talk.server, "A", acknowledgment=talk.client.next + 2**31)) == []
    assert watch.see(talk.says(b"b")) == [Data(1, TO_RESPONDER, 1, b"b")]
