"""What is told of exchanges when bytes are missing, left out, or were never seen."""

from podmirror_http.pairing import (
    BodyMissing,
    Conversation,
    Interrupted,
    MessageEnded,
    RequestBegan,
    ResponseBegan,
)
from tests.http.exchanges import REQUEST, RESPONSE, read

GET = b"GET /%d HTTP/1.1\r\nHost: shop\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def ended(events):
    return [(each.exchange, each.direction) for each in events if isinstance(each, MessageEnded)]


def test_a_gap_in_a_body_of_known_length_costs_only_that():
    conversation = Conversation(late=False)
    read(conversation, [(REQUEST, POST + b"abc")])
    assert conversation.receive_gap(REQUEST, 4, 0) == [BodyMissing(1, REQUEST, 4, "gap")]
    events = read(conversation, [(REQUEST, b"xyz" + GET % 2), (RESPONSE, OK + OK)])
    assert ended(events) == [(1, 0), (2, 0), (1, 1), (2, 1)]
    assert events[1].wire_bytes == len(POST) + 10


def test_a_gap_to_the_end_of_a_body_ends_it():
    conversation = Conversation(late=False)
    read(conversation, [(REQUEST, POST)])
    events = conversation.receive_gap(REQUEST, 10, 5)
    assert events == [BodyMissing(1, REQUEST, 10, "gap"), MessageEnded(1, REQUEST, 5, len(POST) + 10)]


def test_a_gap_within_a_chunk_costs_only_that():
    conversation = Conversation(late=False)
    read(conversation, [(REQUEST, GET % 1), (RESPONSE, CHUNKED + b"a\r\nabc")])
    assert conversation.receive_gap(RESPONSE, 7, 0) == [BodyMissing(1, RESPONSE, 7, "gap")]
    assert ended(read(conversation, [(RESPONSE, b"\r\n0\r\n\r\n")])) == [(1, 1)]


def test_a_gap_in_a_response_s_framing_is_over_with_the_next_turn():
    conversation = Conversation(late=False)
    read(conversation, [(REQUEST, GET % 1 + GET % 2), (RESPONSE, CHUNKED + b"a\r\nabc")])
    assert conversation.receive_gap(RESPONSE, 8, 0) == [Interrupted(1, "gap"), Interrupted(2, "gap")]
    events = read(conversation, [(RESPONSE, b"rest" + OK), (REQUEST, GET % 3), (RESPONSE, OK)])
    assert ended(events) == [(3, 0), (3, 1)]


def test_a_gap_in_a_request_s_head_is_over_with_the_next_turn():
    conversation = Conversation(late=False)
    read(conversation, [(REQUEST, GET % 1 + b"GET /lo")])
    assert conversation.receive_gap(REQUEST, 20, 0) == []
    events = read(
        conversation,
        [(REQUEST, b": x\r\n\r\n" + GET % 8), (RESPONSE, OK + OK), (REQUEST, GET % 3), (RESPONSE, OK)],
    )
    began = [each.head.target for each in events if isinstance(each, RequestBegan)]
    assert began == ["/3"]
    assert ended(events) == [(1, 1), (2, 0), (2, 1)]


def test_the_response_to_a_request_that_was_missed_is_no_other_s():
    conversation = Conversation(late=False)
    conversation.receive_gap(REQUEST, 40, 0)
    events = read(conversation, [(RESPONSE, OK), (REQUEST, GET % 2), (RESPONSE, CHUNKED + b"0\r\n\r\n")])
    heads = {type(each): each.head.raw for each in events if hasattr(each, "head")}
    assert heads == {RequestBegan: GET % 2, ResponseBegan: CHUNKED}


def test_a_late_join_begins_with_the_first_request_of_a_turn():
    conversation = Conversation(late=True)
    events = read(
        conversation,
        [(REQUEST, b"rest of a body"), (RESPONSE, b"unknown" + OK), (REQUEST, GET % 1), (RESPONSE, OK)],
    )
    assert ended(events) == [(1, 0), (1, 1)]


def test_a_late_join_may_begin_with_a_request():
    assert ended(read(Conversation(late=True), [(REQUEST, GET % 1), (RESPONSE, OK)])) == [(1, 0), (1, 1)]


def test_a_response_that_overtakes_its_request_waits_for_it():
    events = read(Conversation(late=False), [(RESPONSE, OK), (REQUEST, GET % 1)])
    assert ended(events) == [(1, 0), (1, 1)]


def test_whole_exchanges_that_were_left_out_leave_no_trace():
    conversation = Conversation(late=False)
    events = read(conversation, [(REQUEST, GET % 1)])
    events += conversation.receive_omitted(REQUEST, 40, 0)
    events += read(conversation, [(RESPONSE, OK)])
    events += conversation.receive_omitted(RESPONSE, 400, 0)
    events += read(conversation, [(REQUEST, GET % 3), (RESPONSE, OK)])
    assert ended(events) == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert not any(isinstance(each, Interrupted) for each in events)


def test_a_response_that_was_left_out_before_a_pipelined_one_takes_nothing_from_it():
    conversation = Conversation(late=False)
    conversation.receive_omitted(REQUEST, 40, 0)
    events = read(conversation, [(REQUEST, GET % 2)])
    events += conversation.receive_omitted(RESPONSE, 40, 0)
    events += read(conversation, [(RESPONSE, OK)])
    assert [type(each) for each in events if hasattr(each, "head")] == [RequestBegan, ResponseBegan]


def test_an_end_in_a_message_interrupts_it():
    conversation = Conversation(late=False)
    read(conversation, [(REQUEST, POST + b"abc")])
    assert conversation.receive_end(REQUEST, 0) == [Interrupted(1, "end")]


def test_requests_that_no_response_follows_do_not_pile_up():
    conversation = Conversation(late=False)
    events = read(conversation, [(REQUEST, GET % number) for number in range(3000)])
    assert sum(isinstance(each, Interrupted) for each in events) > 1900
