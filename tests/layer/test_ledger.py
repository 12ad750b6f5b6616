"""What the ledger counts, what it says, and when it is too much."""

import json

import pytest

from podmirror.errors import UsageError
from podmirror.forwarding import Forwarding, Outcome
from podmirror.ledger import LayerLedger, LossLimit
from podmirror_http.recognition import HTTP2_PREFACE
from podmirror_wire.values import CloseReason
from tests.layer.frames import HEAD, Talk

TROUBLE = "nothing accepts connections on local port 3000 (Connection refused)"


def forwarded(*frames, late: bool = False, late_joins: str = "http") -> Forwarding:
    forwarding = Forwarding(Talk(late=late).opened(), late_joins=late_joins)
    for frame in frames:
        forwarding.receive_frame(frame)
    return forwarding


def of(outcome: Outcome) -> Forwarding:  # noqa: C901  # a case for each outcome
    """Give a connection with that outcome; 41 bytes were written in those that were delivered."""
    talk = Talk()
    says, tls = talk.says(HEAD), talk.says(b"\x16\x03\x01 hello")
    match outcome:
        case Outcome.WHOLE:
            forwarding = forwarded(says, talk.closes())
        case Outcome.RESET:
            forwarding = forwarded(says, talk.closes(CloseReason.RESET_BY_RESPONDER))
        case Outcome.JOINED:
            forwarding = forwarded(says, talk.closes(), late=True)
        case Outcome.GAP:
            forwarding = forwarded(says, talk.misses(100), talk.closes())
        case Outcome.CUT:
            forwarding = forwarded(says, talk.closes(CloseReason.CUT, unsent=1000))
        case Outcome.UNFINISHED:
            forwarding = forwarded(says, talk.closes(CloseReason.IDLE))
        case Outcome.TLS:
            forwarding = forwarded(tls, talk.closes())
        case Outcome.SERVER_FIRST:
            forwarding = forwarded(talk.omits(5), talk.closes())
        case Outcome.UNJOINED:
            forwarding = forwarded(talk.says(b"\r\n\r\n"), talk.closes(), late=True)
        case Outcome.SHED:
            forwarding = forwarded(says, talk.closes(CloseReason.SHED))
        case Outcome.HTTP2:
            forwarding = forwarded(talk.says(HTTP2_PREFACE), talk.closes(), late=True)
        case Outcome.SKIPPED:
            forwarding = forwarded(says, talk.closes(), late=True, late_joins="skip")
        case Outcome.OPEN:
            forwarding = forwarded(says)
    assert forwarding.outcome is outcome
    return forwarding


def ledger_of(*outcomes: Outcome, **agent: int) -> LayerLedger:
    ledger = LayerLedger(agent=agent)
    for outcome in outcomes:
        ledger.settle(of(outcome), 0, "")
    return ledger


@pytest.mark.parametrize(
    ("outcome", "complete", "lost"),
    [
        (Outcome.WHOLE, 1, 0),
        (Outcome.RESET, 1, 0),
        (Outcome.JOINED, 0, 0),
        (Outcome.UNFINISHED, 0, 0),
        (Outcome.GAP, 0, 1),
        (Outcome.CUT, 0, 1),
        (Outcome.TLS, 0, 0),
        (Outcome.SERVER_FIRST, 0, 0),
        (Outcome.UNJOINED, 0, 0),
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
        },
        "delivered_bytes": 0,
        "missing_bytes": 0,
        "undelivered_bytes": 0,
        "left_bytes": 0,
        "skipped_bytes": 0,
        "cut_short": False,
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


def test_in_words_when_nothing_was_lost():
    assert ledger_of(Outcome.WHOLE).lines() == [
        "1 connection mirrored: 1 complete, 0 joined late, 0 with loss; 41 bytes delivered.",
        "Nothing was lost.",
    ]


def test_in_words_when_much_happened():
    ledger = ledger_of(*Outcome, kernel_drops=1, fragments=1, untracked=2000)
    ledger.settle(of(Outcome.WHOLE), 41, TROUBLE)

    assert ledger.lines() == [
        "14 connections mirrored: 2 complete, 1 joined late, 3 with loss; 328 bytes delivered.",
        "1,100 bytes were missed by the capture or given up by the agent.",
        "41 bytes were not taken by the local process.",
        f"1 connection: {TROUBLE}.",
        "1 connection in TLS, which cannot be replayed: not delivered.",
        "1 connection of a protocol in which the server speaks first, which cannot be replayed: not delivered.",
        "1 connection open before the session began, in which no HTTP/1 request was recognised: not delivered.",
        "1 connection open before the session began, in HTTP/2, which cannot be joined late: not delivered.",
        "1 connection open before the session began, which --late-joins skip leaves out: not delivered.",
        "1 connection had not ended.",
        "4 bytes were passed over on the way to a request to join at.",
        "The agent's kernel dropped 1 packet.",
        "The agent does not reassemble IP fragments, and saw 1 of them.",
        "The agent passed over 2,000 packets of connections over its limit.",
    ]


@pytest.mark.parametrize("ledger", [ledger_of(Outcome.GAP), ledger_of(Outcome.WHOLE, kernel_drops=1)])
def test_loss_is_never_called_nothing(ledger):
    assert "Nothing was lost." not in ledger.lines()


def test_missing_bytes_are_never_called_nothing():
    """In TLS too: they are in the line above."""
    talk = Talk()
    ledger = LayerLedger()
    ledger.settle(forwarded(talk.says(b"\x16\x03\x01 hello"), talk.misses(100), talk.closes()), 0, "")

    assert any(line.startswith("100 bytes were missed") for line in ledger.lines()) != (
        "Nothing was lost." in ledger.lines()
    )


def test_a_lost_agent_is_never_called_nothing():
    ledger = ledger_of(Outcome.WHOLE)
    ledger.cut_short = True

    assert ledger.lines()[-1].startswith("The agent was lost: what it had not sent by then")
    assert "Nothing was lost." not in ledger.lines()
    assert ledger.as_dict()["cut_short"] is True


# --max-loss


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("0", LossLimit(0, percent=False)),
        ("5", LossLimit(5, percent=False)),
        ("0%", LossLimit(0, percent=True)),
        ("1%", LossLimit(1, percent=True)),
        ("0.1%", LossLimit(0.1, percent=True)),
        ("100%", LossLimit(100, percent=True)),
    ],
)
def test_limits(text, limit):
    assert LossLimit.parse(text) == limit


@pytest.mark.parametrize("text", ["", "%", "-1", "-1%", "nan", "nan%", "inf", "5%%", "% 5", "five", "1/2"])
def test_anything_else_is_refused(text):
    with pytest.raises(UsageError, match="write a number of connections, or a percentage"):
        LossLimit.parse(text)


@pytest.mark.parametrize(
    ("limit", "lost", "whole", "exceeded"),
    [
        ("0", 0, 3, False),
        ("0", 1, 3, True),
        ("2", 2, 0, False),
        ("2", 3, 0, True),
        ("25%", 1, 3, False),
        ("24%", 1, 3, True),
        ("0%", 1, 1000, True),
        ("0%", 0, 0, False),
        ("100%", 4, 0, False),
    ],
)
def test_a_limit_is_the_most_that_may_be_lost(limit, lost, whole, exceeded):
    ledger = ledger_of(*[Outcome.GAP] * lost, *[Outcome.WHOLE] * whole)

    assert LossLimit.parse(limit).exceeded_by(ledger) is exceeded
