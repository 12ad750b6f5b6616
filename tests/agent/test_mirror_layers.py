"""Several layers at one mirror: each hears of its own, whoever comes late, is slow or leaves."""

from podmirror_wire.frames import Data, Ended
from tests.agent.packets import POD, End, Talk
from tests.agent.stage import TO_RESPONDER, opened

# Several layers.


def test_two_layers_hear_of_their_own_ports(stage):
    first, second = stage.session(80), stage.session(8080)
    web, admin = Talk(), Talk(server=End(POD, 8080, 1))

    stage.see(*web.handshake(), *admin.handshake(), web.says(b"web"), admin.says(b"admin"))

    assert stage.mirror.interest.ports == {80, 8080}
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
    assert stage.mirror.interest.ports == {80}


def test_layer_that_leaves_gives_its_bytes_back(stage, talk):
    session = stage.session(80, window="1")
    stage.see(*talk.handshake(), talk.says(b"hello"))
    talk.says(b"missed")
    stage.see(talk.says(b"parked"))
    assert stage.budget.held > 0

    stage.mirror.remove_session(session)

    assert stage.budget.held == 0
    assert stage.mirror.interest.ports == frozenset()
    stage.see(talk.says(b"x"))
