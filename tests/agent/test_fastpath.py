"""The short way gives what the careful way gives, for any packets, and is taken by those that it is meant for."""

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from podmirror_agent.fastpath import LARGE_BYTES
from podmirror_agent.packet import CapturedPacket, Way
from podmirror_wire.frames import Credit, Data
from podmirror_wire.values import Direction
from tests.agent import packets
from tests.agent.packets import End, Talk
from tests.agent.pairs import CLIENT_V6, POD_V6, Pair, passing
from tests.fuzzing import examples

if TYPE_CHECKING:
    from podmirror_agent.segment import Segment

TO_RESPONDER, TO_INITIATOR = Direction.TO_RESPONDER, Direction.TO_INITIATOR


def talk_v6() -> Talk:
    return Talk(End(CLIENT_V6, 40000, 2**32 - 50), End(POD_V6, 80, 2**32 - 5))


@st.composite
def dialogues(draw: st.DrawFn) -> list[CapturedPacket]:
    """Packets of two conversations, mixed, and treated as networks treat them."""
    talks = [Talk(), talk_v6()]
    sent: list[Segment] = []
    for talk in talks:
        sent += talk.handshake()
    for which, step, size in draw(
        st.lists(
            st.tuples(
                st.integers(0, 1),
                st.sampled_from(["says", "answers", "says", "answers", "ack", "server_ack", "fin", "reset"]),
                st.integers(1, 60) | st.just(LARGE_BYTES),
            ),
            max_size=30,
        )
    ):
        talk = talks[which]
        payload = [draw(st.binary(min_size=size, max_size=size))] if step in ("says", "answers") else []
        sent.append(getattr(talk, step)(*payload))
    order = list(range(len(sent)))
    for index in draw(st.lists(st.integers(0, max(len(sent) - 2, 0)), max_size=6)):
        order[index], order[index + 1] = order[index + 1], order[index]
    treated: list[Segment] = []
    for index in order:
        fate = draw(st.sampled_from(["once"] * 8 + ["lost", "twice"]))
        treated += [sent[index]] * {"once": 1, "lost": 0, "twice": 2}[fate]
    other = draw(st.sets(st.integers(0, max(len(treated) - 1, 0)), max_size=2))
    return [
        passing(segment, packets.ETH0 if index not in other else (7, "net1"))
        for index, segment in enumerate(treated)
    ]


@settings(max_examples=examples(150), deadline=None)
@given(dialogues(), st.lists(st.integers(1, 12), max_size=20), st.sampled_from(["bytes", "lengths"]))
def test_any_packets_tell_the_same_either_way(seen, sizes, responder):
    pair = Pair(responder)

    left = list(seen)
    for size in [*sizes, len(seen)]:
        block, left = left[:size], left[size:]
        pair.see(*block)

    fast, careful = pair.told
    assert fast == careful
    assert pair.sessions[0].counts() == pair.sessions[1].counts()


def begun() -> tuple[Pair, Talk]:
    pair, talk = Pair(), Talk()
    pair.see(*map(passing, [*talk.handshake(), talk.says(b"a"), talk.answers(b"b")]))
    pair.ring.careful.clear()
    pair.received = [[], []]
    return pair, talk


def test_segments_in_order_take_the_short_way_and_one_frame():
    pair, talk = begun()

    pair.see(*(passing(talk.says(bytes([number]) * 10)) for number in range(20)))

    assert pair.ring.careful == []
    assert pair.received[0] == [
        Data(1, TO_RESPONDER, 1, b"".join(bytes([number]) * 10 for number in range(20)))
    ]


def test_acknowledgments_alone_take_the_short_way():
    pair, talk = begun()

    pair.see(
        passing(talk.says(b"x")), passing(talk.server_ack()), passing(talk.answers(b"y")), passing(talk.ack())
    )

    assert pair.ring.careful == []


def test_turns_are_frames_of_their_own():
    pair, talk = begun()

    pair.see(*map(passing, [talk.says(b"1"), talk.answers(b"2"), talk.says(b"3"), talk.says(b"4")]))

    assert pair.received[0] == [
        Data(1, TO_RESPONDER, 1, b"1"),
        Data(1, TO_INITIATOR, 1, b"2"),
        Data(1, TO_RESPONDER, 2, b"34"),
    ]


def test_acknowledgment_of_what_was_missed_takes_the_careful_way():
    pair, talk = begun()
    talk.says(b"missed")

    pair.see(passing(talk.answers(b"I heard")))

    assert len(pair.ring.careful) == 1
    assert pair.told[0] == pair.told[1]


def test_stream_goes_the_short_way_again_when_its_hole_is_filled():
    pair, talk = begun()
    first, second, third = talk.says(b"1"), talk.says(b"2"), talk.says(b"3")

    pair.see(*map(passing, [second, first]))
    pair.ring.careful.clear()
    pair.see(passing(third))

    assert pair.ring.careful == []
    assert pair.told[0] == pair.told[1]


def test_large_payload_outlives_its_block():
    pair, talk = begun()
    payload = bytes(range(256)) * 64

    pair.see(passing(talk.says(payload)))

    assert pair.ring.careful == []
    assert pair.received[0] == [Data(1, TO_RESPONDER, 1, payload)]


def test_bytes_without_credit_outlive_their_block():
    pair, talk = Pair(), Talk()
    for session in pair.sessions:
        session.outbox.window = 3
    pair.see(*map(passing, talk.handshake()))
    payload = bytes(range(256)) * 64

    pair.see(*map(passing, [talk.says(b"a"), talk.answers(b"b"), talk.says(payload)]))
    for mirror, session in zip(pair.mirrors, pair.sessions, strict=True):
        mirror.receive_frame(session, Credit(1, 1 << 20), 0)
    pair.take()

    assert pair.told[0] == pair.told[1]
    assert pair.told[0][1][-1] == Data(1, TO_RESPONDER, 1, payload)


def test_padding_and_truncation_are_told_from_the_lengths():
    pair, talk = begun()
    padded = packets.encoded(talk.says(b"x")) + bytes(20)
    cut = packets.encoded(talk.says(bytes(100)))

    pair.see(
        CapturedPacket(memoryview(padded), len(padded), Way.INCOMING, packets.ETH0, 0),
        CapturedPacket(memoryview(cut)[:80], len(cut), Way.INCOMING, packets.ETH0, 0),
    )

    assert pair.told[0] == pair.told[1]
    assert pair.told[0][1][0] == Data(1, TO_RESPONDER, 1, b"x" + cut[54:80])


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=120), st.integers(0, 60)), max_size=4))
def test_no_bytes_at_all_are_a_fault(garbage):
    pair, talk = begun()
    whole = packets.encoded(talk.says(bytes(30)))

    pair.see(
        *(
            CapturedPacket(memoryview(packet), 2000, Way.INCOMING, packets.ETH0, 0)
            for noise, at in garbage
            for packet in (whole[:at] + noise, noise, whole[:at])
        )
    )

    assert pair.told[0] == pair.told[1]
