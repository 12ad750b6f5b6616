"""What a layer asks of the mirror: its options, and the subscriptions that it gives up or makes again."""

import pytest

from podmirror_agent.session import DEFAULT_WINDOW, MAX_WINDOW
from podmirror_wire.errors import ProtocolError, UnexpectedFrame
from podmirror_wire.frames import (
    Closed,
    Credit,
    Data,
    Goodbye,
    Opened,
    Options,
    Ping,
    Subscribe,
    Subscribed,
    Unsubscribe,
)
from podmirror_wire.values import CloseReason
from tests.agent.packets import POD, End, Talk
from tests.agent.stage import POD_TIME, TO_RESPONDER, opened

# Options.


def test_window_is_the_credit_that_a_connection_starts_with(stage, talk):
    session = stage.session(80, window="3")

    stage.see(*talk.handshake(), talk.says(b"hello"))

    assert stage.frames(session) == [opened(), Data(1, TO_RESPONDER, 0, b"hel")]
    stage.tell(session, Credit(1, 10))
    assert stage.frames(session) == [Data(1, TO_RESPONDER, 3, b"lo")]


def test_window_unless_it_is_asked_for(stage, talk):
    session = stage.session(80)

    stage.see(*talk.handshake())
    for _ in range(DEFAULT_WINDOW // 32768 + 1):
        stage.see(talk.says(bytes(32768)))

    assert sum(len(frame.payload) for frame in stage.frames(session)[1:]) == DEFAULT_WINDOW == 262_144
    assert session.outbox.waiting_bytes == 32768


@pytest.mark.parametrize(
    "settings",
    [
        {"path": "/health"},
        {"responder": "some"},
        {"responder": ""},
        {"window": "0"},
        {"window": "-1"},
        {"window": "1.5"},
        {"window": ""},
        {"window": "\u0663"},
        {"window": "\u00b2"},
        {"window": str(MAX_WINDOW + 1)},
        {"window": "9" * 5000},
        {"": ""},
        {"responder": "bytes", "sampling": "10"},
    ],
    ids=lambda settings: str(settings)[:40],
)
def test_option_that_is_not_known_refuses_the_session(stage, settings):
    session = stage.mirror.add_session()

    with pytest.raises(ProtocolError, match="this agent has no option"):
        stage.tell(session, Options(settings))


@pytest.mark.parametrize("window", ["1", str(MAX_WINDOW)])
def test_windows_at_their_limits(stage, window):
    stage.session(80, window=window)


def test_options_after_a_subscription_are_unexpected(stage):
    session = stage.session(80)

    with pytest.raises(UnexpectedFrame, match="options after a subscription"):
        stage.tell(session, Options({}))


def test_options_drop_nothing_that_is_on_its_way(stage):
    session = stage.mirror.add_session()
    session.outbox.send(Ping(1, 2))

    stage.tell(session, Options({"window": "1000"}), Subscribe(1, 80))

    assert stage.frames(session) == [Ping(1, 2), Subscribed(1, POD_TIME)]


@pytest.mark.parametrize("frame", [Goodbye(""), Ping(1, 2), Subscribed(1, 2), Closed(1, CloseReason.IDLE, 0)])
def test_frames_that_no_layer_sends_at_that_point_are_unexpected(stage, frame):
    with pytest.raises(UnexpectedFrame, match=type(frame).__name__):
        stage.tell(stage.session(80), frame)


# Unsubscribing.


def test_unsubscribed_connections_are_closed(stage):
    session = stage.session(80, 8080)
    web, admin = Talk(), Talk(server=End(POD, 8080, 1))
    stage.see(*web.handshake(), *admin.handshake())
    stage.frames(session)

    stage.tell(session, Unsubscribe(1))
    stage.see(web.says(b"web"), admin.says(b"admin"))

    assert stage.frames(session) == [
        Closed(1, CloseReason.UNSUBSCRIBED, 0),
        Data(2, TO_RESPONDER, 0, b"admin"),
    ]
    assert stage.mirror.interest.ports == {8080}


def test_unsubscribed_connection_is_closed_after_what_waits_for_it(stage, talk):
    session = stage.session(80, window="1")
    stage.see(*talk.handshake(), talk.says(b"ab"))
    stage.frames(session)

    stage.tell(session, Unsubscribe(1))
    assert stage.frames(session) == []
    stage.tell(session, Credit(1, 1))

    assert stage.frames(session) == [Data(1, TO_RESPONDER, 1, b"b"), Closed(1, CloseReason.UNSUBSCRIBED, 0)]
    assert stage.budget.held == 0


def test_unsubscribing_what_is_not_subscribed_does_nothing(stage):
    session = stage.session(80)

    stage.tell(session, Unsubscribe(99))

    assert stage.frames(session) == []
    assert stage.mirror.interest.ports == {80}


def test_port_that_one_layer_gives_up_stays_for_the_other(stage, talk):
    first, second = stage.session(80), stage.session(80)
    stage.see(*talk.handshake())

    stage.tell(first, Unsubscribe(1))
    stage.see(talk.says(b"x"))

    assert stage.frames(first) == [opened(), Closed(1, CloseReason.UNSUBSCRIBED, 0)]
    assert stage.frames(second) == [opened(), Data(1, TO_RESPONDER, 0, b"x")]


def test_connection_of_a_port_that_is_subscribed_again_is_a_late_join(stage, talk):
    session = stage.session(80)
    stage.see(*talk.handshake())
    stage.tell(session, Unsubscribe(1), Subscribe(2, 80))
    stage.frames(session)

    stage.see(talk.says(b"x"))

    assert stage.frames(session) == [opened(2, late=True), Data(2, TO_RESPONDER, 0, b"x")]


def test_number_of_a_closed_connection_is_not_used_again(stage, talk):
    """Another layer keeps the port, so the agent goes on following the connection."""
    session, _ = stage.session(80), stage.session(80)
    stage.see(*talk.handshake())
    stage.tell(session, Unsubscribe(1), Subscribe(2, 80))

    stage.see(talk.says(b"x"))

    frames = stage.frames(session)
    numbers = [frame.connection for frame in frames if isinstance(frame, Opened)]
    assert numbers == [1]


def test_subscribing_again_loses_nothing_that_waits_and_no_budget(stage, talk):
    session, other = stage.session(80, window="1"), stage.session(80)
    stage.see(*talk.handshake(), talk.says(b"abc"))
    stage.tell(session, Unsubscribe(1), Subscribe(2, 80))

    stage.see(talk.says(b"def"))

    stage.tell(session, Credit(1, 100))
    frames = stage.frames(session)
    assert Closed(1, CloseReason.UNSUBSCRIBED, 0) in frames
    stage.mirror.remove_session(session)
    stage.mirror.remove_session(other)
    assert stage.budget.held == 0
