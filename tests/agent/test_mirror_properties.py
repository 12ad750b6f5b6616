"""Any course of events at a mirror gives each of its layers whole connections."""

from hypothesis import given, settings
from hypothesis import strategies as st

from podmirror_wire.frames import (
    AnyFrame,
    Closed,
    Credit,
    Data,
    Ended,
    Gap,
    Omitted,
    Opened,
    Subscribe,
    Unsubscribe,
)
from tests.agent.packets import CLIENT, POD, End, Talk
from tests.agent.stage import Stage
from tests.fuzzing import examples

# Any course of events.

steps = st.lists(
    st.tuples(
        st.sampled_from(["say", "answer", "miss", "ack", "toggle", "credit", "take", "reset"]),
        st.integers(0, 1),
        st.integers(1, 400),
    ),
    max_size=40,
)


class Course:
    """Two layers of one port, and a client that talks, vanishes from the capture, resets and comes back."""

    def __init__(self, limit: int) -> None:
        self.stage = Stage(budget=limit)
        self.sessions = [
            self.stage.session(80, window="100", responder="bytes"),
            self.stage.session(80),
        ]
        self.talk = Talk()
        self.received: list[list[AnyFrame]] = [[], []]
        self.last_request = 10
        self.stage.see(*self.talk.handshake())

    def say(self, _: int, size: int) -> None:
        self.stage.see(self.talk.says(bytes(size)))

    def answer(self, _: int, size: int) -> None:
        self.stage.see(self.talk.answers(bytes(size)))

    def miss(self, _: int, size: int) -> None:
        self.talk.says(bytes(size))

    def ack(self, _: int, __: int) -> None:
        self.stage.see(self.talk.server_ack())

    def toggle(self, which: int, _: int) -> None:
        session = self.sessions[which]
        self.last_request += 1
        if session.subscriptions:
            self.stage.tell(session, Unsubscribe(*session.subscriptions))
        else:
            self.stage.tell(session, Subscribe(self.last_request, 80))

    def credit(self, which: int, size: int) -> None:
        self.stage.tell(self.sessions[which], Credit(1, size))

    def take(self, which: int, _: int) -> None:
        self.received[which] += self.stage.frames(self.sessions[which])

    def reset(self, _: int, __: int) -> None:
        self.stage.see(self.talk.reset())
        client, server = self.talk.client.next + 100_000, self.talk.server.next + 50_000
        self.talk = Talk(End(CLIENT, 40000, client), End(POD, 80, server))
        self.stage.see(*self.talk.handshake())

    def end(self) -> None:
        for which, session in enumerate(self.sessions):
            self.take(which, 0)
            self.stage.mirror.remove_session(session)


def assert_whole(frames: list[AnyFrame]) -> None:
    """Each connection is opened once, before all else, and nothing follows its end."""
    is_open: dict[int, bool] = {}
    for frame in frames:
        match frame:
            case Opened(number):
                assert number not in is_open, "a number is used once"
                is_open[number] = True
            case Closed(number):
                assert is_open.get(number), "what is closed was open"
                is_open[number] = False
            case Data(number) | Omitted(number) | Gap(number) | Ended(number):
                assert is_open.get(number)


@settings(max_examples=examples(100), deadline=None)
@given(steps, st.sampled_from([1 << 30, 3000]))
def test_any_course_of_events_gives_each_layer_whole_connections(steps, limit):
    course = Course(limit)

    for step, which, size in steps:
        getattr(course, step)(which, size)
        assert course.stage.budget.held <= limit

    course.end()
    assert course.stage.budget.held == 0
    for frames in course.received:
        assert_whole(frames)
