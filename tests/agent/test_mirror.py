"""From packets to the frames of each layer, with nothing but memory between."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podmirror_agent.budget import Budget
from podmirror_agent.connections import IDLE_SECONDS
from podmirror_agent.mirror import DEFAULT_WINDOW, MAX_WINDOW, Mirror, Session
from podmirror_agent.packet import CapturedPacket, Way
from podmirror_agent.segment import Segment
from podmirror_wire.decoder import Decoder
from podmirror_wire.errors import ProtocolError, UnexpectedFrame
from podmirror_wire.frames import (
    AnyFrame,
    Closed,
    Credit,
    Data,
    Ended,
    Gap,
    Goodbye,
    Omitted,
    Opened,
    Options,
    Ping,
    Subscribe,
    Subscribed,
    Unsubscribe,
)
from podmirror_wire.values import CloseReason, Direction, Endpoint, GapReason
from tests.agent import packets
from tests.agent.packets import CLIENT, POD, End, Talk

TO_RESPONDER, TO_INITIATOR = Direction.TO_RESPONDER, Direction.TO_INITIATOR
POD_TIME = 1_700_000_000_000_000_000


class Stage:
    """A mirror, its sessions, and packets that pass it."""

    def __init__(self, budget: int = 1 << 30) -> None:
        self.budget = Budget(budget)
        self.mirror = Mirror(self.budget)
        self.decoders: dict[int, Decoder] = {}
        self.now = 0.0

    def session(self, *ports: int, **settings: str) -> Session:
        session = self.mirror.add_session()
        if settings:
            self.tell(session, Options(settings))
        for request, port in enumerate(ports, 1):
            self.tell(session, Subscribe(request, port))
        self.frames(session)
        return session

    def tell(self, session: Session, *frames: AnyFrame) -> None:
        for frame in frames:
            self.mirror.receive_frame(session, frame, POD_TIME)

    def see(self, *segments: Segment) -> None:
        self.see_packets(
            *(
                packets.captured(
                    segment,
                    Way.OUTGOING if segment.source == bytes((10, 0, 0, 2)) else Way.INCOMING,
                    pod_time=POD_TIME,
                )
                for segment in segments
            )
        )

    def see_packets(self, *captured: CapturedPacket) -> None:
        self.mirror.receive_packets(captured, self.now)

    def frames(self, session: Session) -> list[AnyFrame]:
        decoder = self.decoders.setdefault(id(session), Decoder())
        frames: list[AnyFrame] = []
        while output := session.outbox.take_output():
            frames += decoder.receive_data(b"".join(output))
        return frames

    def counts(self, session: Session, drops: int = 0) -> dict[str, int]:
        return self.mirror.ledger(session, drops).counts


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def talk() -> Talk:
    return Talk()


def opened(number: int = 1, *, late: bool = False, port: int = 80) -> Opened:
    return Opened(number, late, Endpoint(CLIENT, 40000), Endpoint(POD, port), POD_TIME, "eth0")


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
    assert stage.mirror.ports == {80}


def test_nothing_is_mirrored_before_a_subscription(stage, talk):
    session = stage.session()

    stage.see(*talk.handshake(), talk.says(b"x"))

    assert stage.frames(session) == []
    assert stage.mirror.ports == frozenset()


def test_gap_is_told_and_counted(stage, talk):
    session = stage.session(80)
    stage.see(*talk.handshake())
    talk.says(b"missed")

    stage.see(talk.server_ack(), talk.says(b"x"))

    assert stage.frames(session)[1:] == [
        Gap(1, TO_RESPONDER, 0, 6, GapReason.MISSED),
        Data(1, TO_RESPONDER, 6, b"x"),
    ]
    assert (stage.counts(session)["gaps"], stage.counts(session)["gap_bytes"]) == (1, 6)


def test_gap_in_answers_that_nobody_asked_for_is_no_loss(stage, talk):
    default, wants = stage.session(80), stage.session(80, responder="bytes")
    stage.see(*talk.handshake())
    talk.answers(b"missed")

    stage.see(talk.ack())

    assert (
        stage.frames(default)[1:] == stage.frames(wants)[1:] == [Gap(1, TO_INITIATOR, 0, 6, GapReason.MISSED)]
    )
    assert stage.counts(default)["gap_bytes"] == 0
    assert stage.counts(wants)["gap_bytes"] == 6


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
        {"filter": "path=/health"},
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


# Several layers.


def test_two_layers_hear_of_their_own_ports(stage):
    first, second = stage.session(80), stage.session(8080)
    web, admin = Talk(), Talk(server=End(POD, 8080, 1))

    stage.see(*web.handshake(), *admin.handshake(), web.says(b"web"), admin.says(b"admin"))

    assert stage.mirror.ports == {80, 8080}
    assert stage.frames(first) == [opened(1), Data(1, TO_RESPONDER, 0, b"web")]
    assert stage.frames(second) == [opened(2, port=8080), Data(2, TO_RESPONDER, 0, b"admin")]


def test_two_layers_of_one_port_hear_the_same(stage, talk):
    first, second = stage.session(80), stage.session(80)

    stage.see(*talk.handshake(), talk.says(b"x"))

    assert stage.frames(first) == stage.frames(second) == [opened(), Data(1, TO_RESPONDER, 0, b"x")]


def test_a_slow_layer_does_not_stall_another(stage, talk):
    slow, fast = stage.session(80, window="1"), stage.session(80)

    stage.see(*talk.handshake(), talk.says(b"hello"))

    assert stage.frames(slow)[1:] == [Data(1, TO_RESPONDER, 0, b"h")]
    assert stage.frames(fast)[1:] == [Data(1, TO_RESPONDER, 0, b"hello")]


def test_layer_that_subscribes_late_joins_late(stage, talk):
    first = stage.session(80)
    stage.see(*talk.handshake(), talk.says(b"before"))
    second = stage.session(80)

    stage.see(talk.says(b"after"))

    assert stage.frames(first) == [
        opened(),
        Data(1, TO_RESPONDER, 0, b"before"),
        Data(1, TO_RESPONDER, 6, b"after"),
    ]
    late, data = stage.frames(second)
    assert late == opened(late=True)
    assert data.payload == b"after"
    assert stage.counts(second)["late_joins"] == 1
    assert stage.counts(first)["late_joins"] == 0


def test_offsets_of_a_layer_that_joins_late_go_on_from_where_the_agent_is(stage, talk):
    """As the frames say: offsets count from the first byte of a direction that the agent saw."""
    stage.session(80)
    stage.see(*talk.handshake(), talk.says(b"before"))
    second = stage.session(80)

    stage.see(talk.says(b"after"), talk.says(b"wards"), talk.fin())

    assert stage.frames(second)[1:] == [
        Data(1, TO_RESPONDER, 6, b"after"),
        Data(1, TO_RESPONDER, 11, b"wards"),
        Ended(1, TO_RESPONDER, 16),
    ]


def test_layer_that_subscribes_after_the_last_bytes_hears_of_nothing(stage, talk):
    stage.session(80)
    stage.see(*talk.handshake())
    second = stage.session(80)

    stage.see(talk.reset())

    assert stage.frames(second) == []
    assert stage.counts(second)["connections"] == 0


def test_layer_that_leaves_lets_the_others_go_on(stage, talk):
    first, second = stage.session(80), stage.session(80, 8080)
    stage.see(*talk.handshake())

    stage.mirror.remove_session(second)
    stage.see(talk.says(b"x"))

    assert stage.frames(first) == [opened(), Data(1, TO_RESPONDER, 0, b"x")]
    assert stage.mirror.ports == {80}


def test_layer_that_leaves_gives_its_bytes_back(stage, talk):
    session = stage.session(80, window="1")
    stage.see(*talk.handshake(), talk.says(b"hello"))
    talk.says(b"missed")
    stage.see(talk.says(b"parked"))
    assert stage.budget.held > 0

    stage.mirror.remove_session(session)

    assert stage.budget.held == 0
    assert stage.mirror.ports == frozenset()
    stage.see(talk.says(b"x"))


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
    assert stage.mirror.ports == {8080}


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
    assert stage.mirror.ports == {80}


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


# The end.


def test_connections_are_closed_towards_every_layer_when_the_agent_ends(stage, talk):
    first, second = stage.session(80), stage.session(80)
    stage.see(*talk.handshake())

    stage.mirror.close_connections(CloseReason.AGENT_ENDED)

    expected = [opened(), Closed(1, CloseReason.AGENT_ENDED, 0)]
    assert stage.frames(first) == stage.frames(second) == expected


# The ledger.


def test_ledger_counts_what_was_seen_and_lost(stage, talk):
    session = stage.session(80)
    stage.see(*talk.handshake(), talk.says(b"hello"), talk.answers(b"200"))
    talk.says(b"missed")
    stage.see(talk.server_ack())
    stage.see(Talk(End(CLIENT, 50000, 1), End(POD, 80, 1)).segment(End(CLIENT, 50000, 1), "A"))
    malformed = packets.ethernet(b"\x45" + bytes(8))
    fragment = packets.ethernet(packets.ipv4(CLIENT, POD, packets.tcp(1, 80), fragment=0x2000))
    arp = packets.ethernet(bytes(46), ethertype=0x0806)
    for packet in (malformed, fragment, fragment, arp):
        stage.see_packets(
            CapturedPacket(memoryview(packet), len(packet), Way.INCOMING, packets.ETH0, POD_TIME)
        )

    assert stage.counts(session, drops=7) == {
        "connections": 1,
        "late_joins": 0,
        "bytes_seen": 5,
        "gaps": 1,
        "gap_bytes": 6,
        "cut_connections": 0,
        "cut_bytes": 0,
        "kernel_drops": 7,
        "packets": 11,
        "fragments": 2,
        "malformed": 1,
        "untracked": 0,
    }


def test_ledger_counts_what_was_cut(talk):
    stage = Stage(budget=3000)
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


@settings(max_examples=100, deadline=None)
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
