"""The short way gives what the careful way gives, whatever befalls a connection: resets, silences, new ones on its ports."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from podmirror_agent.connections import SILENCE_SECONDS
from podmirror_agent.fastpath import LARGE_BYTES
from podmirror_agent.governor import ALL_KEPT
from podmirror_agent.packet import CapturedPacket
from podmirror_agent.stream import MAX_WINDOW
from podmirror_wire.frames import Closed, Credit, Data, Dismiss, Subscribe, Unsubscribe
from podmirror_wire.values import CloseReason, Direction
from tests.agent import packets
from tests.agent.packets import Talk
from tests.agent.pairs import Pair, passing
from tests.fuzzing import examples

if TYPE_CHECKING:
    from podmirror_agent.segment import Segment

Step = CapturedPacket | Callable[[Pair], None]

FAR = st.sampled_from([0, 1, 2, 7, -1, -9, 1000, MAX_WINDOW - 1, MAX_WINDOW, -MAX_WINDOW, 1 << 31, 3 << 30])
"""How far a number is from where it should be."""

NET1 = (7, "net1")


def _wait(seconds: float) -> Callable[[Pair], None]:
    def step(pair: Pair) -> None:
        pair.now += seconds
        pair.wait(pair.now)

    return step


def _tell(*frames: Credit | Dismiss | Subscribe | Unsubscribe) -> Callable[[Pair], None]:
    def step(pair: Pair) -> None:
        for mirror, session in zip(pair.mirrors, pair.sessions, strict=True):
            for frame in frames:
                mirror.receive_frame(session, frame, 0)

    return step


def _keep(classes: int) -> Callable[[Pair], None]:
    def step(pair: Pair) -> None:
        for mirror in pair.mirrors:
            mirror.keep(classes)

    return step


@st.composite
def lives(draw: st.DrawFn) -> list[Step]:
    """What befalls a pair of ports: packets that are right, packets that are not, and what the layer and time do."""
    talk = Talk()
    steps: list[Step] = [passing(each) for each in talk.handshake()]
    missed: list[Segment] = []
    for _ in range(draw(st.integers(1, 25))):
        kind = draw(
            st.sampled_from(
                ["talk"] * 6 + ["miss", "found", "stray", "reset", "time", "layer", "again", "cut"]
            )
        )
        sender = draw(st.sampled_from([talk.client, talk.server]))
        payload = draw(st.binary(max_size=9) | st.just(bytes(LARGE_BYTES)))
        interface = draw(st.sampled_from([packets.ETH0] * 9 + [NET1]))
        if kind in ("talk", "miss"):
            segment = talk.send(sender, draw(st.sampled_from(["A", "PA", "PA", "A", "FA"])), payload)
            missed += [segment] * (kind == "miss")
            steps += [passing(segment, interface)] * (kind == "talk")
        elif kind == "found" and missed:
            steps.append(passing(missed.pop(), interface))
        elif kind in ("stray", "reset"):
            other = talk.server if sender is talk.client else talk.client
            flags = draw(st.sampled_from(["R", "RA"] if kind == "reset" else ["A", "", "FA", "S", "SA"]))
            steps.append(
                passing(
                    talk.segment(
                        sender,
                        flags,
                        payload if kind == "stray" else b"",
                        sequence=sender.next + draw(FAR),
                        acknowledgment=other.next + draw(FAR),
                    ),
                    interface,
                )
            )
        elif kind == "time":
            steps.append(_wait(draw(st.sampled_from([0.1, SILENCE_SECONDS, 11.0]))))
        elif kind == "layer":
            steps.append(
                draw(
                    st.sampled_from(
                        [
                            _tell(Credit(1, 100)),
                            _tell(Dismiss(1)),
                            _tell(Unsubscribe(1), Subscribe(2, 80)),
                            _keep(0),
                            _keep(ALL_KEPT),
                        ]
                    )
                )
            )
        elif kind == "again":
            talk.client.next, talk.server.next = (
                (each.next + draw(st.integers(1, 1 << 31))) & 0xFFFFFFFF
                for each in (talk.client, talk.server)
            )
            steps += [passing(each) for each in talk.handshake() if draw(st.integers(0, 3))]
        elif kind == "cut":
            whole = packets.encoded(talk.says(bytes(50)))
            kept = draw(st.integers(14, len(whole)))
            steps.append(
                passing(talk.ack())._replace(packet=memoryview(whole)[:kept], wire_length=len(whole))
            )
    return steps


@settings(max_examples=examples(300), deadline=None)
@given(lives(), st.lists(st.integers(1, 9), max_size=20), st.sampled_from(["bytes", "lengths"]))
def test_any_life_is_told_the_same_either_way(life, sizes, responder):
    pair = Pair(responder)
    block: list[CapturedPacket] = []
    left = list(sizes)
    for step in life:
        if isinstance(step, CapturedPacket):
            block.append(step)
        if not isinstance(step, CapturedPacket) or len(block) >= (left[0] if left else 3):
            pair.see(*block, now=pair.now)
            block, left = [], left[1:]
        if not isinstance(step, CapturedPacket):
            step(pair)
            pair.take()
    pair.see(*block, now=pair.now)
    pair.wait(pair.now + SILENCE_SECONDS)

    fast, careful = pair.told
    assert fast == careful
    assert pair.sessions[0].counts() == pair.sessions[1].counts()
    assert pair.budgets[0].held == pair.budgets[1].held


def test_a_reset_that_was_ignored_does_not_end_a_connection_that_goes_on():
    """As one that somebody else forged, whose number is a guess within the window (RFC 5961, 3)."""
    pair, talk = Pair(), Talk()
    pair.see(*map(passing, [*talk.handshake(), talk.says(b"a"), talk.answers(b"b")]))
    pair.see(passing(talk.reset(sequence=talk.client.next + 1000)))
    pair.see(passing(talk.server_ack()), passing(talk.says(b"goes on")))

    pair.wait(SILENCE_SECONDS)
    pair.see(passing(talk.says(b" and on")))

    assert pair.told[0] == pair.told[1]
    assert pair.told[0][1][-1] == Data(1, Direction.TO_RESPONDER, 1, b"goes on and on")


def test_a_reset_behind_a_hole_ends_a_connection_that_is_silent():
    pair, talk = Pair(), Talk()
    pair.see(*map(passing, [*talk.handshake(), talk.says(b"a"), talk.answers(b"b")]))
    talk.says(b"missed")
    pair.see(passing(talk.reset()))

    pair.wait(SILENCE_SECONDS)

    assert pair.told[0] == pair.told[1]
    assert pair.told[0][1][-1] == Closed(1, CloseReason.RESET_BY_INITIATOR, 0)
