"""What comes from one pod's agent, and the credit that it gets for it."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from podmirror.credit import STEP_BYTES
from podmirror.inspection.observation import Observation
from podmirror_wire.frames import ConnectionFrame
from tests.layer.frames import Talk


class Taking:
    """A view that can be full."""

    settings: Mapping[str, str] = {}

    def __init__(self) -> None:
        self.is_full = False
        self.frames: list[ConnectionFrame] = []

    def receive_frame(self, pod: str, frame: ConnectionFrame) -> None:
        self.frames.append(frame)

    def finish(self) -> None:
        pass


def observe() -> tuple[Observation, Taking, list[tuple[int, int]]]:
    view, given = Taking(), []
    observation = Observation("web-1", view)
    link = SimpleNamespace(
        give_credit=lambda connection, size: given.append((connection, size)), counts={"gaps": 1}
    )
    session: Any = SimpleNamespace(link=link, lost=False)
    observation.attach(session)
    return observation, view, given


def test_credit_is_given_back_as_the_view_takes():
    observation, view, given = observe()
    talk = Talk()
    observation.receive_frame(talk.opened())
    observation.receive_frame(talk.says(bytes(STEP_BYTES)))
    observation.receive_frame(talk.answers(bytes(10)))

    assert given == [(1, STEP_BYTES)]
    assert (len(view.frames), observation.connections) == (3, 1)
    assert observation.counts == {"gaps": 1}


def test_a_view_that_is_full_keeps_the_credit_until_it_has_room():
    observation, view, given = observe()
    one, two = Talk(1), Talk(2)
    view.is_full = True
    for talk in (one, two):
        observation.receive_frame(talk.opened())
        observation.receive_frame(talk.says(bytes(STEP_BYTES)))
    observation.receive_frame(one.says(bytes(STEP_BYTES)))
    observation.receive_frame(two.closes())
    assert given == []

    view.is_full = False
    observation.release()
    observation.release()
    assert given == [(1, 2 * STEP_BYTES)]


def test_an_agent_whose_pod_went_away_is_not_lost():
    observation, _, _ = observe()
    assert observation.session is not None
    observation.session.lost = True
    assert observation.cut_short
    observation.expect_end()
    assert not observation.cut_short
