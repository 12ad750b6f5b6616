"""What the ledger counts: each connection once, and each byte once."""

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podmirror.forwarding import Dismiss, Forwarding, Outcome
from podmirror.ledger import Fate, LayerLedger, Move
from podmirror_http.recognition import HTTP2_PREFACE
from podmirror_wire.values import CloseReason, Direction
from tests.fuzzing import examples
from tests.layer.frames import HEAD, OTHER_HEAD, Talk
from tests.layer.ledgers import TROUBLE, forwarded, ledger_of, of


@pytest.mark.parametrize(
    ("outcome", "complete", "lost"),
    [
        (Outcome.WHOLE, 1, 0),
        (Outcome.RESET, 1, 0),
        (Outcome.JOINED, 0, 0),
        (Outcome.UNFINISHED, 0, 0),
        (Outcome.GAP, 0, 1),
        (Outcome.CUT, 0, 1),
        (Outcome.SHED, 0, 1),
        (Outcome.TLS, 0, 0),
        (Outcome.SERVER_FIRST, 0, 0),
        (Outcome.UNJOINED, 0, 0),
        (Outcome.HTTP2, 0, 0),
        (Outcome.SKIPPED, 0, 0),
    ],
)
def test_what_is_complete_and_what_is_lost(outcome, complete, lost):
    ledger = ledger_of(outcome)

    assert (ledger.connections, ledger.complete, ledger.lost) == (1, complete, lost)
    assert ledger.outcomes == {outcome: 1}


@pytest.mark.parametrize("outcome", [Outcome.WHOLE, Outcome.JOINED, Outcome.UNFINISHED, Outcome.GAP])
def test_trouble_is_loss_whatever_the_outcome(outcome):
    ledger = LayerLedger()
    ledger.settle(of(outcome), 10, TROUBLE)

    assert (ledger.complete, ledger.lost) == (0, 1)
    assert ledger.undelivered_bytes == 10
    assert ledger.delivered_bytes == len(HEAD) - 10
    assert ledger.troubles == {TROUBLE: 1}


def test_what_a_process_that_has_ended_did_not_take_is_no_loss():
    ledger = LayerLedger()
    ledger.settle(of(Outcome.WHOLE), 10, "")

    assert (ledger.complete, ledger.lost, ledger.undelivered_bytes) == (0, 0, 0)
    assert ledger.delivered_bytes == len(HEAD) - 10
    assert ledger.outcomes == {Outcome.UNFINISHED: 1}


def test_bytes_add_up():
    ledger = ledger_of(Outcome.WHOLE, Outcome.GAP, Outcome.CUT, Outcome.UNJOINED, Outcome.JOINED)

    assert ledger.delivered_bytes == 4 * len(HEAD)
    assert ledger.missing_bytes == 1100
    assert ledger.skipped_bytes == 4


def test_for_machines_every_name_is_there_even_if_nothing_happened():
    assert LayerLedger().as_dict() == {
        "connections": 0,
        "complete_connections": 0,
        "lost_connections": 0,
        "outcomes": {
            "open": 0,
            "whole": 0,
            "reset": 0,
            "joined": 0,
            "gap": 0,
            "cut": 0,
            "shed": 0,
            "unfinished": 0,
            "tls": 0,
            "server_first": 0,
            "unjoined": 0,
            "http2": 0,
            "skipped": 0,
            "filtered": 0,
            "withheld": 0,
        },
        "delivered_bytes": 0,
        "missing_bytes": 0,
        "undelivered_bytes": 0,
        "left_bytes": 0,
        "skipped_bytes": 0,
        "lost_bytes": 0,
        "not_delivered_bytes": {
            "missed": 0,
            "cut": 0,
            "shed": 0,
            "local_failure": 0,
            "behind_gap": 0,
            "given_up": 0,
            "left_out": 0,
            "before_join": 0,
            "tls": 0,
            "server_first": 0,
            "http2": 0,
            "late": 0,
            "unfinished": 0,
            "waiting": 0,
            "local_ended": 0,
        },
        "cut_short": False,
        "moves": [],
        "restarts": 0,
        "troubles": {},
        "agent": {},
    }


def test_for_machines_it_is_json():
    ledger = ledger_of(Outcome.WHOLE, Outcome.GAP, kernel_drops=3)
    ledger.settle(of(Outcome.WHOLE), 5, TROUBLE)
    read = json.loads(json.dumps(ledger.as_dict()))

    assert read["connections"] == 3
    assert read["complete_connections"] == 1
    assert read["lost_connections"] == 2
    assert read["outcomes"]["whole"] == 2
    assert read["troubles"] == {TROUBLE: 1}
    assert read["agent"] == {"kernel_drops": 3}


@pytest.mark.parametrize("outcome", [Outcome.GAP, Outcome.CUT, Outcome.SHED])
def test_what_waits_at_the_end_hides_no_loss(outcome):
    ledger = LayerLedger()
    ledger.settle(of(outcome), 10, "")

    assert ledger.outcomes == {outcome: 1}
    assert ledger.lost == 1
    assert ledger.left_bytes == 10


@pytest.mark.parametrize(
    ("outcome", "fates"),
    [
        (Outcome.WHOLE, {}),
        (Outcome.GAP, {Fate.MISSED: 100}),
        (Outcome.CUT, {Fate.CUT: 1000}),
        (Outcome.SHED, {Fate.SHED: 500}),
        (Outcome.TLS, {Fate.TLS: 9}),
        (Outcome.UNJOINED, {Fate.BEFORE_JOIN: 4}),
        (Outcome.HTTP2, {Fate.HTTP2: len(HTTP2_PREFACE)}),
        (Outcome.SKIPPED, {Fate.LATE: len(HEAD)}),
    ],
)
def test_each_byte_has_the_name_of_its_fate(outcome, fates):
    ledger = ledger_of(outcome)

    assert {fate: size for fate, size in ledger.not_delivered().items() if size} == fates


@pytest.mark.parametrize(
    ("trouble", "local_ended", "fate"),
    [
        (TROUBLE, False, Fate.LOCAL_FAILURE),
        (TROUBLE, True, Fate.LOCAL_FAILURE),
        ("", True, Fate.LOCAL_ENDED),
        ("", False, Fate.WAITING),
    ],
)
def test_bytes_that_were_not_taken_are_named_by_the_reason(trouble, local_ended, fate):
    ledger = LayerLedger()
    ledger.settle(of(Outcome.WHOLE), 10, trouble, local_ended=local_ended)

    assert ledger.fates[fate] == 10


def test_bytes_behind_a_gap_are_lost_with_those_in_it():
    talk = Talk()
    ledger = LayerLedger()
    ledger.settle(forwarded(talk.says(HEAD), talk.misses(100), talk.says(b"behind"), talk.closes()), 0, "")

    assert ledger.fates[Fate.BEHIND_GAP] == 6
    assert ledger.lost_bytes == 106


def test_what_waited_when_the_agent_ended_was_given_up_and_is_no_loss():
    ledger = LayerLedger()
    ledger.settle(forwarded(Talk().closes(CloseReason.AGENT_ENDED, unsent=7)), 0, "")

    assert ledger.fates[Fate.GIVEN_UP] == 7
    assert (ledger.lost, ledger.lost_bytes) == (0, 0)
    assert not ledger.nothing_lost


# What the agent counts and tells of in no frame.


@pytest.mark.parametrize(("outcome", "name"), [(Outcome.CUT, "cut"), (Outcome.SHED, "shed")])
def test_connections_that_were_never_announced_are_lost_all_the_same(outcome, name):
    ledger = ledger_of(outcome, Outcome.WHOLE, **{f"{name}_connections": 5})

    assert ledger.connections == 6
    assert ledger.lost == 5
    assert ledger.as_dict()["outcomes"][outcome.value] == 5


def test_a_connection_that_is_shed_after_it_could_not_be_replayed_is_counted_once():
    talk = Talk()
    ledger = LayerLedger(agent={"shed_connections": 1})
    ledger.settle(forwarded(talk.says(b"\x16\x03\x01 hello"), talk.closes(CloseReason.SHED)), 0, "")

    assert (ledger.connections, ledger.lost) == (1, 0)


def test_bytes_that_the_agent_shed_or_holds_are_added():
    ledger = ledger_of(Outcome.SHED, shed_connections=1, shed_bytes=1000, waiting_bytes=30)

    assert ledger.not_delivered()[Fate.SHED] == 1500
    assert ledger.not_delivered()[Fate.WAITING] == 30
    assert ledger.lost_bytes == 1500


def test_bytes_that_the_agent_saw_after_a_cut_are_added():
    ledger = ledger_of(Outcome.CUT, Outcome.GAP, cut_connections=1, cut_bytes=1077, gap_bytes=103)

    assert ledger.not_delivered()[Fate.CUT] == 1077
    assert ledger.not_delivered()[Fate.MISSED] == 103


def test_frames_that_are_ahead_of_the_agents_counts_are_not_forgotten():
    ledger = ledger_of(Outcome.CUT, Outcome.GAP, cut_connections=0, cut_bytes=0, gap_bytes=0)

    assert ledger.not_delivered()[Fate.CUT] == 1000
    assert ledger.not_delivered()[Fate.MISSED] == 100


def test_a_copy_stays_as_it_is():
    ledger = ledger_of(Outcome.GAP)
    copy = ledger.copy()
    before = copy.as_dict()
    ledger.settle(of(Outcome.CUT), 3, TROUBLE)

    assert copy.as_dict() == before


# Conservation.

events = st.one_of(
    st.sampled_from([HEAD, OTHER_HEAD, HEAD[:15], HEAD[15:], b"body", b"\x16", b"\x16\x03\x01", b"\r\n\r\n"]),
    st.sampled_from([HTTP2_PREFACE, HTTP2_PREFACE[:9], b"a: b\r\n\r\n" + HEAD, b"\x17\x03\x03\x00\x01\x00"]),
    st.sampled_from(["answers", "omits", "misses", "fails", "ends"]),
)


@st.composite
def connections(draw) -> tuple[Forwarding, int]:
    """Give a connection at its end, or at the session's, and the bytes of the initiator that it was told of."""
    late = draw(st.booleans())
    talk = Talk(late=late)
    forwarding = Forwarding(
        talk.opened(),
        on_gap=draw(st.sampled_from(["reset", "rejoin"])),
        late_joins=draw(st.sampled_from(["skip", "http", "raw"])),
    )
    steps = forwarding.receive_frame(talk.opened())
    told = 0
    for event in draw(st.lists(events, max_size=12)):
        match event:
            case "answers":
                frame = talk.answers(b"yes")
            case "omits":
                frame = talk.omits(10)
            case "ends":
                frame = talk.ends()
            case "misses":
                frame = talk.misses(7)
                told += 7
            case "fails":
                steps += forwarding.fail(draw(st.integers(0, 3)))
                continue
            case _:
                told += len(event)
                if any(isinstance(step, Dismiss) for step in steps) and draw(st.booleans()):
                    frame = talk.omits(len(event), Direction.TO_RESPONDER)
                else:
                    frame = talk.says(event)  # what was on its way
        steps += forwarding.receive_frame(frame)
    if draw(st.booleans()):
        unsent = draw(st.integers(0, 50))
        forwarding.receive_frame(talk.closes(draw(st.sampled_from(CloseReason)), unsent=unsent))
        told += unsent
    else:
        forwarding.abandon()
    return forwarding, told


@settings(max_examples=examples(300))
@given(st.lists(connections(), max_size=4), st.data())
def test_every_byte_is_delivered_or_has_one_name(ended, data):
    ledger = LayerLedger()
    for forwarding, _ in ended:
        undelivered = data.draw(st.integers(0, forwarding.written))
        trouble = data.draw(st.sampled_from(["", TROUBLE]))
        ledger.settle(forwarding, undelivered, trouble, local_ended=data.draw(st.booleans()))

    assert ledger.delivered_bytes + sum(ledger.not_delivered().values()) == sum(told for _, told in ended)
    assert all(size >= 0 for size in ledger.not_delivered().values())
    assert ledger.connections == len(ended)
    assert ledger.lost_bytes <= sum(ledger.not_delivered().values())


def test_the_ledgers_of_several_agents_add_up():
    one = LayerLedger(
        complete=2, delivered_bytes=5, agent={"gaps": 1, "first_drop_time": 9, "last_drop_time": 9}
    )
    other = LayerLedger(
        complete=1, delivered_bytes=7, agent={"gaps": 2, "first_drop_time": 0}, cut_short=True
    )
    third = LayerLedger(agent={"first_drop_time": 4, "last_drop_time": 4})
    merged = LayerLedger.merged([one, other, third])

    assert (merged.complete, merged.delivered_bytes, merged.cut_short) == (3, 12, True)
    assert merged.agent["gaps"] == 3
    assert (merged.agent["first_drop_time"], merged.agent["last_drop_time"]) == (4, 9)


def test_what_one_agent_told_does_not_hide_what_another_did_not():
    """One was lost before it reported the three cuts that it had announced; the other never announced three of its five."""
    lost = LayerLedger(closed=Counter({CloseReason.CUT: 3}), fates=Counter({Fate.CUT: 30, Fate.MISSED: 2}))
    other = LayerLedger(
        closed=Counter({CloseReason.CUT: 2}),
        fates=Counter({Fate.CUT: 20}),
        agent={"cut_connections": 5, "cut_bytes": 50, "gap_bytes": 7},
    )
    merged = LayerLedger.merged([lost, other])

    assert merged.unannounced[Outcome.CUT] == 3
    for fate in (Fate.CUT, Fate.MISSED):
        assert merged.not_delivered()[fate] == sum(each.not_delivered()[fate] for each in (lost, other))


def test_one_ledger_is_what_it_is():
    one = LayerLedger(closed=Counter({CloseReason.CUT: 3}), agent={"gaps": 1})

    assert LayerLedger.merged([one]) == one
    assert LayerLedger.merged([one]) is not one
    assert LayerLedger.merged([]) == LayerLedger()


def test_after_a_move_something_may_have_been_missed():
    ledger = LayerLedger(moves=(Move("a", "b", 1.25), Move("", "c", 0.5), Move("b", "", 0.0)))

    assert ledger.uncertain
    assert not ledger.nothing_lost
    assert ledger.as_dict()["moves"] == [
        {"from": "a", "to": "b", "seconds": 1.25},
        {"from": None, "to": "c", "seconds": 0.5},
        {"from": "b", "to": None, "seconds": 0.0},
    ]
