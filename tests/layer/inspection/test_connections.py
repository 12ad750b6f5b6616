"""`-o connections`: a line for each connection, with what it ended as and what is missing."""

import io
import json

import pytest

from podmirror.inspection.connections import ConnectionLines
from podmirror_wire.frames import Closed, Digest, Ended, Gap, Opened
from podmirror_wire.values import CloseReason, Direction, Endpoint, GapReason

OPENED = Opened(
    1, False, Endpoint("10.0.0.1", 40000), Endpoint("fd00::2", 80), 1_700_000_000_500_000_000, "eth0"
)


def lines(*frames, pod=""):
    output = io.StringIO()
    view = ConnectionLines(output)
    for frame in frames:
        view.receive_frame(pod, frame)
    view.finish()
    return [json.loads(line) for line in output.getvalue().splitlines()]


def digests(number=1):
    return [Digest(number, direction, 5 + direction, bytes([direction]) * 32) for direction in Direction]


def test_a_whole_connection():
    (line,) = lines(
        OPENED,
        Ended(1, Direction.TO_RESPONDER, 5),
        *digests(),
        Closed(1, CloseReason.FINISHED, 0),
        pod="web-1",
    )

    assert line == {
        "connection": 1,
        "initiator": "10.0.0.1:40000",
        "responder": "[fd00::2]:80",
        "state": "complete",
        "ended": "fin",
        "initiator_bytes": 5,
        "responder_bytes": 6,
        "initiator_sha256": "00" * 32,
        "responder_sha256": "01" * 32,
        "gaps": [],
        "opened": "2023-11-14T22:13:20.500000+00:00",
        "pod": "web-1",
    }


@pytest.mark.parametrize(
    ("reason", "ended", "state"),
    [
        (CloseReason.FINISHED, "fin", "complete"),
        (CloseReason.END_MISSED, "fin", "complete"),
        (CloseReason.RESET_BY_INITIATOR, "rst", "complete"),
        (CloseReason.RESET_BY_RESPONDER, "rst", "complete"),
        (CloseReason.IDLE, "idle", "complete"),
        (CloseReason.REPLACED, "idle", "complete"),
        (CloseReason.CAPTURE_ENDED, "eof", "complete"),
        (CloseReason.AGENT_ENDED, "eof", "complete"),
        (CloseReason.CUT, "eof", "gap"),
        (CloseReason.SHED, "eof", "gap"),
    ],
)
def test_how_it_ended(reason, ended, state):
    (line,) = lines(OPENED, *digests(), Closed(1, reason, 0))

    assert (line["ended"], line["state"]) == (ended, state)


def test_gaps_are_named_with_their_sender_and_joined_where_they_touch():
    gap = Gap(1, Direction.TO_INITIATOR, 100, 50, GapReason.MISSED)
    rest = Gap(1, Direction.TO_INITIATOR, 150, 5, GapReason.BUDGET)
    other = Gap(1, Direction.TO_RESPONDER, 155, 5, GapReason.MISSED)
    (line,) = lines(OPENED, gap, other, rest, *digests(), Closed(1, CloseReason.FINISHED, 0))

    assert line["state"] == "gap"
    assert line["gaps"] == [
        {"from": "responder", "at": 100, "bytes": 55},
        {"from": "initiator", "at": 155, "bytes": 5},
    ]


def test_a_late_join_is_told():
    late = Opened(1, True, OPENED.initiator, OPENED.responder, 0, "eth0")
    (line,) = lines(late, *digests(), Closed(1, CloseReason.FINISHED, 0))

    assert line["state"] == "joined_late"


def test_connections_of_two_pods_may_have_the_same_number():
    output = io.StringIO()
    view = ConnectionLines(output)
    for pod in ("a", "b"):
        view.receive_frame(pod, OPENED)
    for pod in ("a", "b"):
        for frame in (*digests(), Closed(1, CloseReason.FINISHED, 0)):
            view.receive_frame(pod, frame)

    assert [json.loads(line)["pod"] for line in output.getvalue().splitlines()] == ["a", "b"]
