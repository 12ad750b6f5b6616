"""The ledger in words."""

import pytest

from podmirror.forwarding import Outcome
from podmirror.ledger import LayerLedger, Move
from podmirror.verdict import sentences
from tests.layer.frames import Talk
from tests.layer.ledgers import TROUBLE, forwarded, ledger_of, of


def test_in_words_when_nothing_was_lost():
    assert sentences(ledger_of(Outcome.WHOLE)) == [
        "1 connection mirrored: 1 complete, 0 joined late, 0 with loss; 41 bytes delivered.",
        "Nothing was lost.",
    ]


def test_in_words_when_much_happened():
    drops = {
        "kernel_drops": 1,
        "first_drop_time": 1_700_000_000 * 10**9,
        "last_drop_time": 1_700_003_661 * 10**9,
    }
    ledger = ledger_of(*Outcome, **drops, fragments_lost=1, untracked=2000, shed_connections=3, shed_bytes=9)
    ledger.settle(of(Outcome.WHOLE), 41, TROUBLE)

    assert sentences(ledger) == [
        "18 connections mirrored: 2 complete, 1 joined late, 6 with loss; 338 bytes delivered.",
        f"1 connection: {TROUBLE}.",
        "1 connection given up by the agent, because its buffers were full.",
        "3 connections shed by the agent, because its CPU budget was used up.",
        "1 connection in TLS, which cannot be replayed: not delivered.",
        "1 connection of a protocol in which the server speaks first, which cannot be replayed: not delivered.",
        "1 connection open before the session began, in which no HTTP/1 request was recognised: not delivered.",
        "1 connection open before the session began, in HTTP/2, which cannot be joined late: not delivered.",
        "1 connection open before the session began, which --late-joins skip leaves out: not delivered.",
        "1 connection of which nothing was selected: not delivered.",
        "1 connection had not ended.",
        "1 connection had a request that could not be redacted safely: it was left out.",
        "100 bytes: missed by the capture.",
        "1,000 bytes: given up by the agent, because its buffers were full.",
        "509 bytes: in connections that the agent shed.",
        "41 bytes: not taken by the local process.",
        "15 bytes: left out in the pod, as not selected or not to be redacted safely.",
        "4 bytes: passed over on the way to a request to join at.",
        "The agent's kernel dropped 1 packet between 22:13:20 and 23:14:21 (UTC, the pod's clock).",
        "The agent gave up 1 IP fragment.",
        "The agent passed over 2,000 packets of connections over its limit.",
    ]


def test_what_an_agent_selected_and_redacted_is_told_and_is_no_loss():
    ledger = ledger_of(
        Outcome.WHOLE,
        filtered_exchanges=3,
        filtered_bytes=900,
        unjudged_exchanges=1,
        redacted_values=1,
        redacted_out_bytes=50,
    )
    assert sentences(ledger)[1:] == [
        "3 exchanges filtered in the pod, 900 bytes; 1 of them ended, or were too large, before they could be judged.",
        "1 value redacted in the pod.",
        "50 bytes left out in the pod, because they cannot be redacted safely.",
        "Nothing was lost.",
    ]


def test_drops_without_their_time_are_told():
    assert "The agent's kernel dropped 2 packets." in sentences(ledger_of(kernel_drops=2))


@pytest.mark.parametrize("ledger", [ledger_of(Outcome.GAP), ledger_of(Outcome.WHOLE, kernel_drops=1)])
def test_loss_is_never_called_nothing(ledger):
    assert "Nothing was lost." not in sentences(ledger)


def test_missing_bytes_are_never_called_nothing():
    """In TLS too: they are in the line above."""
    talk = Talk()
    ledger = LayerLedger()
    ledger.settle(forwarded(talk.says(b"\x16\x03\x01 hello"), talk.misses(100), talk.closes()), 0, "")

    assert any(line.startswith("100 bytes: missed") for line in sentences(ledger)) != (
        "Nothing was lost." in sentences(ledger)
    )


def test_a_lost_agent_is_never_called_nothing():
    ledger = ledger_of(Outcome.WHOLE)
    ledger.cut_short = True

    assert sentences(ledger)[-1].startswith("The agent was lost: what it had not sent by then")
    assert "Nothing was lost." not in sentences(ledger)
    assert ledger.as_dict()["cut_short"] is True


def test_several_pods_are_told_each():
    parts = [("a", ledger_of(Outcome.WHOLE)), ("b", ledger_of(Outcome.GAP))]
    said = sentences(LayerLedger.merged(part for _, part in parts), parts)

    assert said[0].startswith("2 connections mirrored: 1 complete, 0 joined late, 1 with loss")
    assert said[1] == "Pod a: 1 connection, 0 with loss; 41 bytes delivered."
    assert said[2].startswith("Pod b: 1 connection, 1 with loss; ")


def test_one_pod_is_not_told_apart():
    ledger = ledger_of(Outcome.WHOLE)

    assert sentences(ledger, [("a", ledger)]) == sentences(ledger)


def test_moves():
    moves = (Move("a", "b", 1.25), Move("", "c", 0.5), Move("b", "", 0.0))

    assert sentences(LayerLedger(moves=moves))[-1] == (
        "The session moved 3 times: from pod a to pod b (1.2 s), to pod c (0.5 s), away from pod b; what a pod received in "
        "that time, and what one that went away received after its agent's end, is not counted here."
    )
    assert "to pod c (0.5 s), and 4 times more; what" in sentences(LayerLedger(moves=moves[1:2] * 9))[-1]
