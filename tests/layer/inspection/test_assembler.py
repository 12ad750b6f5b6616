"""From frames to records."""

import pytest

from podmirror.inspection.assembler import Assembler
from podmirror.inspection.connection import ConnectionSummary, Record
from podmirror.inspection.exchange import Exchange, State
from podmirror_wire.frames import ConnectionFrame, Timed
from podmirror_wire.values import CloseReason, Direction
from tests.http.hellos import alpn, client_hello, server_name
from tests.layer.frames import HEAD, OTHER_HEAD, Talk
from tests.layer.inspection.exchanges import MS

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nhi"
OPENED = Talk().opened().pod_time


def at(milliseconds: float, connection: int = 1) -> Timed:
    return Timed(connection, OPENED + int(milliseconds * MS))


def records(*frames: ConnectionFrame, **limits: int) -> list[Record]:
    assembler = Assembler("web-1", **limits)
    return [record for frame in frames for record in assembler.receive_frame(frame)] + assembler.abandon()


def exchanges(*frames: ConnectionFrame, **limits: int) -> list[Exchange]:
    return [record for record in records(*frames, **limits) if isinstance(record, Exchange)]


def test_an_exchange_is_given_with_its_times_and_sizes():
    talk = Talk(7)
    (record,) = exchanges(
        talk.opened(),
        at(1, 7),
        talk.says(HEAD[:10]),
        at(2, 7),
        talk.says(HEAD[10:]),
        at(5, 7),
        talk.answers(OK[:20]),
        at(9, 7),
        talk.answers(OK[20:]),
    )

    assert (record.connection, record.number, record.pod) == (7, 1, "web-1")
    assert (record.request.method, record.path, record.host, record.status) == ("GET", "/orders", "shop", 200)
    assert (record.began, record.request.ended) == (OPENED + MS, OPENED + 2 * MS)
    assert (record.first_byte_ms, record.last_byte_ms) == (4.0, 8.0)
    assert (record.request.size, record.response.size) == (len(HEAD), len(OK))
    assert bytes(record.response.body.kept) == b"hi"
    assert record.state is State.COMPLETE


def test_an_exchange_is_given_as_soon_as_it_is_over():
    talk = Talk()
    assembler = Assembler("web-1")
    for frame in (talk.opened(), talk.says(HEAD)):
        assert assembler.receive_frame(frame) == []
    assert [each.path for each in assembler.in_progress] == ["/orders"]

    (record,) = assembler.receive_frame(talk.answers(OK))
    assert isinstance(record, Exchange)
    assert (len(assembler.in_progress), assembler.open_connections) == (0, 1)
    assert [assembler.receive_frame(frame) for frame in (talk.ends(), talk.closes())] == [[], []]
    assert assembler.open_connections == 0


def test_exchanges_of_one_connection_are_numbered():
    talk = Talk()
    found = exchanges(talk.opened(), talk.says(HEAD + HEAD), talk.answers(OK), talk.answers(OK))

    assert [record.number for record in found] == [1, 2]


def test_an_early_answer_waits_for_its_request():
    talk = Talk()
    assembler = Assembler("web-1")
    for frame in (talk.opened(), talk.says(OTHER_HEAD + b"a"), talk.answers(OK)):
        assert assembler.receive_frame(frame) == []

    (record,) = assembler.receive_frame(talk.says(b"bc"))
    assert isinstance(record, Exchange)
    assert (bytes(record.request.body.kept), record.state) == (b"abc", State.COMPLETE)


def test_a_late_join_is_told_in_each_of_its_exchanges():
    talk = Talk(late=True)
    (record,) = exchanges(talk.opened(), talk.says(HEAD), talk.answers(OK))

    assert record.state is State.JOINED_LATE


def test_a_gap_in_a_body_costs_that_body():
    talk = Talk()
    (broken, whole) = exchanges(
        talk.opened(),
        talk.says(OTHER_HEAD + b"a"),
        talk.misses(2),
        talk.answers(OK),
        talk.says(HEAD),
        talk.answers(OK),
    )

    assert (broken.state, broken.missing_bytes) == (State.GAP, 2)
    assert (bytes(broken.request.body.kept), broken.request.body.size) == (b"a", 3)
    assert whole.state is State.COMPLETE


def test_a_gap_in_a_head_is_told_as_such():
    talk = Talk()
    (record,) = exchanges(
        talk.opened(), talk.says(HEAD), talk.answers(OK[:9]), talk.misses(5, Direction.TO_INITIATOR)
    )

    assert (record.state, record.status) == (State.GAP, None)


def test_bytes_that_were_left_out_are_counted_and_are_no_gap():
    talk = Talk()
    (record,) = exchanges(talk.opened(), talk.says(HEAD), talk.answers(OK[:-2]), talk.omits(2))

    assert (record.state, record.left_out_bytes) == (State.COMPLETE, 2)
    assert record.response.body.size == 2


@pytest.mark.parametrize("reason", [CloseReason.RESET_BY_RESPONDER, CloseReason.IDLE])
def test_what_ends_before_its_end_is_unfinished(reason: CloseReason):
    talk = Talk()
    (record,) = exchanges(talk.opened(), talk.says(HEAD), talk.answers(OK[:-1]), talk.closes(reason))

    assert (record.state, record.status, record.last_byte_ms) == (State.UNFINISHED, 200, None)


def test_what_is_open_when_the_session_ends_is_unfinished():
    talk = Talk()
    (record,) = exchanges(talk.opened(), talk.says(HEAD))

    assert (record.state, record.status) == (State.UNFINISHED, None)


def test_a_websocket_is_an_exchange_and_then_a_connection():
    talk = Talk()
    upgrade = b"GET /chat HTTP/1.1\r\nHost: shop\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    switching = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    (record, summary) = records(
        talk.opened(),
        talk.says(upgrade),
        talk.answers(switching + b"\x81\x02hi"),
        talk.says(b"\x81\x82abcdef"),
        talk.closes(),
    )

    assert isinstance(record, Exchange)
    assert isinstance(summary, ConnectionSummary)
    assert (record.status, record.upgrade, record.state) == (101, "websocket", State.COMPLETE)
    assert summary.protocol == "websocket"
    assert summary.bytes == [len(upgrade) + 8, len(switching) + 4]


def test_what_is_not_http_is_a_connection_with_what_it_looks_like():
    talk = Talk()
    (summary,) = records(
        talk.opened(),
        talk.says(client_hello(server_name("a.example"), alpn("h2"))),
        at(30),
        talk.answers(b"\x16\x03\x03\x00\x10" + bytes(16)),
        talk.closes(),
    )

    assert isinstance(summary, ConnectionSummary)
    assert (summary.protocol, summary.detail) == ("TLS", "SNI a.example, ALPN h2")
    assert (summary.seconds, summary.bytes[1], summary.state) == (0.03, 21, State.COMPLETE)


def test_a_server_that_speaks_first_is_recognised():
    talk = Talk()
    (summary,) = records(talk.opened(), talk.answers(b"SSH-2.0-x\r\n"), talk.says(b"SSH-2.0-y\r\n"))

    assert (summary.protocol, summary.state) == ("SSH", State.UNFINISHED)


def test_a_connection_without_a_byte_says_so():
    talk = Talk()
    (summary,) = records(talk.opened(), talk.ends(), talk.closes())

    assert (summary.protocol, summary.bytes) == ("nothing said", [0, 0])


def test_a_connection_that_was_left_out_is_counted():
    talk = Talk()
    (summary,) = records(
        talk.opened(), talk.omits(100, Direction.TO_RESPONDER), talk.omits(50), talk.closes(unsent=3)
    )

    assert (summary.protocol, summary.bytes, summary.left_out) == ("unknown", [100, 50], 150)
    assert (summary.missing, summary.state) == (3, State.GAP)


def test_a_body_is_kept_up_to_its_limit_and_counted_to_its_end():
    talk = Talk()
    big = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"
    frames = [
        talk.opened(),
        talk.says(HEAD),
        talk.answers(big),
        *(talk.answers(b"x" * 50) for _ in range(100)),
    ]
    (record,) = exchanges(*frames, body_bytes=120)

    assert (len(record.response.body.kept), record.response.body.size) == (120, 5000)
    assert record.state is State.COMPLETE


def test_all_bodies_that_are_open_share_a_limit_which_comes_back():
    one, two = Talk(1), Talk(2)
    big = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
    found = exchanges(
        *(
            frame
            for talk in (one, two)
            for frame in (talk.opened(), talk.says(HEAD), talk.answers(big + b"x" * 90))
        ),
        one.answers(b"x" * 10),
        two.answers(b"x" * 10),
        one.says(HEAD),
        one.answers(big + b"x" * 100),
        open_body_bytes=100,
    )

    assert [len(record.response.body.kept) for record in found] == [90, 10, 100]


def test_the_oldest_of_too_many_open_exchanges_is_given_up():
    talks = [Talk(number) for number in range(1, 5)]
    frames = [frame for talk in talks for frame in (talk.opened(), talk.says(HEAD))]
    assembler = Assembler("web-1", open_exchanges=2)
    found = [record for frame in frames for record in assembler.receive_frame(frame)]

    assert [(record.connection, record.state) for record in found] == [
        (1, State.UNFINISHED),
        (2, State.UNFINISHED),
    ]
    assert assembler.receive_frame(talks[0].answers(OK)) == []
    assert len(assembler.receive_frame(talks[3].answers(OK))) == 1
    assert [record.connection for record in assembler.abandon()] == [3]


def test_frames_of_a_connection_that_was_never_opened_are_passed_over():
    talk = Talk()

    assert records(talk.says(HEAD), talk.closes(), at(1)) == []


def test_what_is_redacted_is_for_the_caller_to_tell():
    talk = Talk()
    assembler = Assembler("web-1", is_redacted=lambda record: record.request.header("host") == "shop")
    for frame in (talk.opened(), talk.says(HEAD)):
        assembler.receive_frame(frame)
    (record,) = assembler.receive_frame(talk.answers(OK))

    assert record.redacted
