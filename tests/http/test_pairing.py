"""Exchanges out of the bytes of a connection: each byte in one span, however the bytes are cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podmirror_http.pairing import (
    Body,
    Conversation,
    InterimResponse,
    Interrupted,
    MessageEnded,
    NotHttp,
    RequestBegan,
    ResponseBegan,
    TunnelData,
    Upgraded,
)
from tests.http.exchanges import REQUEST, RESPONSE, bytes_of, joined, pieces, read, said, without_spans

GET = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def names(events):
    return [type(event).__name__ for event in events]


def told(*steps, late=False):
    return joined(read(Conversation(late), list(steps)))


@given(st.lists(said(), min_size=1, max_size=4), st.booleans(), st.lists(st.integers(0, 2000), max_size=12))
def test_whatever_was_said_is_told(conversation, pipelined, cuts):
    requests = [(REQUEST, each.request) for each in conversation]
    responses = [(RESPONSE, each.response) for each in conversation]
    turns = (
        [*requests, *responses]
        if pipelined
        else [*itertools.chain.from_iterable(zip(requests, responses, strict=True))]
    )
    steps = [(side, piece) for side, data in turns for piece in pieces(data, cuts)]
    events = read(whole := Conversation(late=False, spans=True), steps)
    assert whole.held == 0
    assert whole.close() == []
    assert not any(isinstance(event, Interrupted | NotHttp) for event in events)
    for number, each in enumerate(conversation, 1):
        of = [event for event in events if getattr(event, "exchange", 0) == number]
        heads = {type(event): event.head for event in of if hasattr(event, "head")}
        assert (heads[RequestBegan].method, heads[RequestBegan].target) == (each.method, each.target)
        assert heads[ResponseBegan].status == each.status
        assert heads[RequestBegan].headers[:2] == (("Host", "shop"), ("X-Case", "v"))
        assert sum(isinstance(event, InterimResponse) for event in of) == each.interim
        bodies = [
            b"".join(event.content for event in of if isinstance(event, Body) and event.direction == side)
            for side in (REQUEST, RESPONSE)
        ]
        assert bodies == [each.content, each.answer]
        ends = {event.direction: event.wire_bytes for event in of if isinstance(event, MessageEnded)}
        assert ends == {REQUEST: len(each.request), RESPONSE: len(each.response)}


@given(
    st.lists(said(), max_size=3),
    st.lists(st.tuples(st.sampled_from([REQUEST, RESPONSE]), st.binary(max_size=40)), max_size=4),
    st.lists(st.integers(0, 2000), max_size=12),
    st.booleans(),
    st.integers(0, 200),
)
def test_every_cut_of_the_bytes_tells_the_same_and_accounts_for_all(exchanges, junk, cuts, late, start):
    turns = [turn for each in exchanges for turn in ((REQUEST, each.request), (RESPONSE, each.response))]
    turns = [*turns, *junk]
    if late and turns:
        turns[0] = (turns[0][0], turns[0][1][start % (len(turns[0][1]) + 1) :])
    turns = [turn for turn in turns if turn[1]]

    def outcome(steps):
        conversation = Conversation(late, spans=True)
        events = [*read(conversation, steps), *conversation.close()]
        for side in (REQUEST, RESPONSE):
            assert bytes_of(events, side) == b"".join(data for direction, data in steps if direction == side)
        assert conversation.held == 0
        return [event for event in without_spans(events) if not isinstance(event, TunnelData)]

    cut = [(side, piece) for side, data in turns for piece in pieces(data, cuts)]
    assert outcome(cut) == outcome(turns)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.binary(max_size=60), st.integers(1, 99)), max_size=20),
    st.booleans(),
)
def test_nothing_makes_it_fail(steps, late):
    conversation = Conversation(late, spans=True)
    scraps = [
        GET,
        OK,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"0\r\n\r\n",
    ]
    taken = {REQUEST: b"", RESPONSE: b""}
    events = []
    for kind, data, length in steps:
        side = kind % 2
        if kind < 4:
            payload = data or scraps[length % len(scraps)]
            taken[side] += payload
            events += conversation.receive_data(side, payload, 0)
        elif length % 3:
            events += conversation.receive_gap(side, length, 0)
        else:
            events += conversation.receive_omitted(side, length, 0)
    events += conversation.close()
    assert {side: bytes_of(events, side) for side in taken} == taken
    stopped = set()
    for event in events:
        if isinstance(event, Interrupted):
            assert event.exchange not in stopped
            stopped.add(event.exchange)


def test_times_are_those_of_first_and_last_bytes():
    conversation = Conversation(late=False)
    feeds = [
        (REQUEST, GET[:5]),
        (REQUEST, GET[5:]),
        (RESPONSE, OK[:3]),
        (RESPONSE, OK[3:-1]),
        (RESPONSE, OK[-1:]),
    ]
    events = []
    for time, (side, data) in enumerate(feeds, 10):
        events += conversation.receive_data(side, data, time)
    times = [event.time for event in events if hasattr(event, "time")]
    assert names(events) == [
        "RequestBegan", "MessageEnded", "ResponseBegan", "Body", "Body", "MessageEnded",
    ]  # fmt: skip
    assert times == [10, 11, 12, 14]


def test_a_response_without_a_length_ends_with_its_direction():
    conversation = Conversation(late=False)
    events = read(conversation, [(REQUEST, GET), (RESPONSE, b"HTTP/1.0 200 OK\r\n\r\nabc")])
    assert isinstance(events[-1], Body)
    assert conversation.receive_end(RESPONSE, 7) == [MessageEnded(1, RESPONSE, 7, 22)]
    assert conversation.close() == []


def test_a_response_without_a_length_is_interrupted_by_a_reset():
    conversation = Conversation(late=False)
    read(conversation, [(REQUEST, GET), (RESPONSE, b"HTTP/1.0 200 OK\r\n\r\nabc")])
    assert conversation.close() == [Interrupted(1, "end")]


def test_a_websocket_leaves_http():
    ask = b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\r\n"
    events = told((REQUEST, ask), (RESPONSE, switch + b"hello"), (REQUEST, b"GET / HTTP/1.1\r\n\r\n"))
    assert events[-3:] == [Upgraded(1, "websocket"), TunnelData(1, 5), TunnelData(0, 18)]


def test_a_refused_upgrade_stays_http():
    ask = b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n"
    events = told((REQUEST, ask + GET), (RESPONSE, OK + OK))
    assert [event.exchange for event in events if isinstance(event, MessageEnded)] == [1, 2, 1, 2]


def test_connect_becomes_a_tunnel_with_what_came_behind_it():
    ask = b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"
    events = told((REQUEST, ask + b"\x16\x03"), (RESPONSE, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx"))
    assert events[-3:] == [Upgraded(1, "connect"), TunnelData(0, 2), TunnelData(1, 1)]


def test_a_client_that_was_refused_leave_to_send_its_body_may_go_on():
    ask = b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 50\r\n\r\n"
    refused = b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n"
    events = told((REQUEST, ask), (RESPONSE, refused), (REQUEST, GET), (RESPONSE, OK))
    assert [event.head.method for event in events if isinstance(event, RequestBegan)] == ["PUT", "GET"]
    events = told((REQUEST, ask), (RESPONSE, refused), (REQUEST, b"x" * 50))
    assert events[-1] == MessageEnded(1, REQUEST, 0, len(ask) + 50)


@pytest.mark.parametrize(
    ("side", "first"),
    [
        (REQUEST, b"\x16\x03\x01\x02\x00\x01"),
        (REQUEST, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (REQUEST, b"*1\r\n$4\r\nPING\r\n"),
        (REQUEST, b"get key\r\n"),
        (REQUEST, bytes(20)),
        (RESPONSE, b"220 mail.example ESMTP\r\n"),
    ],
)
def test_other_protocols_are_told_from_http(side, first):
    assert told((side, first), (1 - side, b"more")) == [NotHttp()]


def test_framing_that_makes_no_sense_interrupts():
    coded = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"
    assert told((REQUEST, coded))[-1] == Interrupted(1, "malformed")
    both = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 4\r\n\r\n"
    assert told((REQUEST, both), (RESPONSE, OK), (REQUEST, GET))[0].head.method == "GET"
    chunk = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnot a size\r\n"
    assert told((REQUEST, chunk))[-1] == Interrupted(1, "malformed")


def test_chunks_win_over_a_length():
    ask = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
    assert told((REQUEST, ask))[1:] == [Body(1, REQUEST, b"a"), MessageEnded(1, REQUEST, 0, len(ask))]
