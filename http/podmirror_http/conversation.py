"""Which bytes of a connection are which exchange's: requests and their responses, from bytes that were seen passively.

Theory of operation. Each direction is a sequence of messages; the bytes of one that are not understood yet are held, its
head for example until its empty line (at most `MAX_HEAD_BYTES`). Requests are numbered as they begin, and responses belong to
them in their order (RFC 9112, 9.3.2), which also decides how a response is framed. Behind a request that asks for another
protocol the initiator's bytes are held until the response says whose they are.

Missing bytes inside content of a known length cost only themselves. Missing anywhere else, they end what is known of the
direction: requests are taken up again by `boundary.BoundarySeeker` at the beginning of a turn of the initiator's, and responses
with that request, since a client that does not pipeline sends it only when all earlier responses have come. A pipelining client
that is joined late may therefore be paired wrongly until it waits for the first time; nothing on the wire tells.

Bytes that were left out on purpose between two messages are whole messages, as far as anyone can tell: they are passed over.
"""

from collections import deque

from podmirror_http.boundary import BoundarySeeker, is_request_head
from podmirror_http.events import (
    TO_INITIATOR,
    Body,
    BodyMissing,
    Event,
    InterimResponse,
    MessageEnded,
    NotHttp,
    Part,
    Reason,
    RequestBegan,
    ResponseBegan,
    ResponseHead,
    Upgraded,
)
from podmirror_http.exchange import Exchange
from podmirror_http.framing import BodyReader, Kind, MalformedBody, Pieces, request_framing, response_framing
from podmirror_http.heads import (
    MAX_HEAD_BYTES,
    MalformedHead,
    may_begin_request,
    may_begin_response,
    read_request_head,
    read_response_head,
    values_of,
)
from podmirror_http.recognition import TLS_HEADER_BYTES, looks_like_tls_record
from podmirror_http.side import Side, State
from podmirror_http.transcript import Transcript

MAX_OUTSTANDING = 1000
"""Requests without a response: more than any client pipelines, but a session may leave all responses out."""

_READ_BYTES = 16 * 1024
"""Of held bytes that are given to a body at a time: what is behind it is copied once more."""


class Conversation(Transcript):
    """One connection; times are whatever the caller's are, and come back in events."""

    def __init__(self, late: bool, *, spans: bool = False) -> None:
        """Begin.

        Args:
            late: Whether the connection's beginning was not seen.
            spans: Whether every byte is to be given in a `Span`.
        """
        super().__init__(State.LOST if late else State.HEAD, spans=spans)
        self._sure = not late
        """Whether every byte was seen, so that what reads as no HTTP is none."""
        self._seeker = BoundarySeeker(turn=late)
        self._outstanding: deque[Exchange] = deque()
        """Exchanges without a whole response."""
        self._count = 0
        self._first: bytearray | None = bytearray()
        """The initiator's first bytes, until it is clear what the connection is."""
        self._speaker: int | None = None

    def receive_data(self, direction: int, payload: bytes, time: int) -> list[Event]:
        """Take the next bytes of a direction."""
        side = self._side(direction)
        turn = self._speaker != direction
        self._speaker = direction
        if direction == TO_INITIATOR:
            self._end_turn()
        if self._first is not None and side is self._initiator:
            self._recognise(self._first, payload)
        if side.state is State.LOST and side is self._initiator:
            self._seek(payload, time)
            return self._take_events()
        if not side.held and side.state is State.HEAD:
            side.began, side.turn = time, turn
        if not side.held and side.state is State.BODY:
            self._read_body(side, payload, time)
        else:
            side.held += payload
        self._advance(side, time)
        return self._take_events()

    def receive_gap(self, direction: int, length: int, time: int) -> list[Event]:
        """Take that bytes of a direction were missed."""
        self._receive_missing(self._side(direction), length, time, "gap")
        return self._take_events()

    def receive_omitted(self, direction: int, length: int, time: int) -> list[Event]:
        """Take that bytes of a direction were left out."""
        self._receive_missing(self._side(direction), length, time, "omitted")
        return self._take_events()

    def receive_end(self, direction: int, time: int) -> list[Event]:
        """Take that a direction has ended, after all of its bytes."""
        side = self._side(direction)
        if direction == TO_INITIATOR:
            self._end_turn()
        if side.state is State.BODY and side.body and side.body.kind is Kind.UNTIL_CLOSE:
            self._end_message(side, time)
        if side.state is not State.WAITING:  # then the response will tell what is held
            self._break_off(side, "end")
        if side is self._responder:
            self._interrupt_outstanding("end")
        return self._take_events()

    def close(self) -> list[Event]:
        """Take that the connection is over, in good order or not."""
        for side in (self._initiator, self._responder):
            self._break_off(side, "end")
        self._interrupt_outstanding("end")
        return self._take_events()

    # Reading messages.

    def _advance(self, side: Side, time: int) -> None:
        """Read what is held for as long as it can be understood, that of the other side as soon as it can."""
        other = self._responder if side is self._initiator else self._initiator
        while self._step(other, time) or self._step(side, time):
            pass

    def _step(self, side: Side, time: int) -> bool:
        """Read the next part of a message; whether there may be more to read."""
        if not side.held:
            return False
        match side.state:
            case State.HEAD if side is self._initiator:
                return self._read_request_head(time)
            case State.HEAD:
                return self._read_response_head(time)
            case State.BODY:
                return self._read_body(side, side.take(_READ_BYTES), time)
            case State.WAITING if len(side.held) > MAX_HEAD_BYTES:
                side.begin_head()
                return True
            case State.WAITING:
                return False
        if side is self._responder or side.state is not State.LOST:
            self._pass_unread(side)
        return False

    def _read_request_head(self, time: int) -> bool:
        """Read a head if it is there; whether there may be more to read."""
        side = self._initiator
        while side.held.startswith((b"\n", b"\r\n")):
            self._give_span(0, side, Part.FRAMING, side.take(side.held.index(b"\n") + 1))
        if not side.held or side.held == b"\r":
            return False
        raw = side.head(may=may_begin_request(side.held))
        if raw is None:
            return False
        try:
            head = read_request_head(raw)
        except MalformedHead:
            self._refuse(side)
            return True
        self._count += 1
        self._first = None
        exchange = Exchange(self._count, head)
        self._begin_request(exchange)
        self._give_span(exchange.number, side, Part.HEAD, side.take(len(raw)))
        self._events.append(RequestBegan(exchange.number, head, side.began))
        side.exchange, side.wire_bytes = exchange, len(raw)
        side.began, side.turn = time, False
        try:
            self._begin_body(side, BodyReader(*request_framing(head)), time)
        except MalformedBody:
            self._lose(side, "malformed")
        return True

    def _begin_request(self, exchange: Exchange) -> None:
        """Expect its response."""
        if self._responder.state is State.LOST and self._initiator.turn:
            self._interrupt_outstanding("gap")
            self._responder.begin_head()
        self._outstanding.append(exchange)
        if len(self._outstanding) > MAX_OUTSTANDING:
            self._lose(self._responder, "gap")

    def _read_response_head(self, time: int) -> bool:
        side = self._responder
        if not side.held:
            return False
        if not self._outstanding:
            self._judge_unasked(side)
            return False
        raw = side.head(may=may_begin_response(side.held))
        if raw is None:
            return False
        try:
            head = read_response_head(raw)
        except MalformedHead:
            self._refuse(side)
            return True
        exchange = self._outstanding[0]
        self._give_span(exchange.number, side, Part.HEAD, side.take(len(raw)))
        side.wire_bytes += len(raw)
        began, side.began = side.began, time
        if head.status < 200 and head.status != 101:
            exchange.awaits_continue = False
            self._give(exchange, InterimResponse(exchange.number, head))
            return True
        side.exchange = exchange
        self._give(exchange, ResponseBegan(exchange.number, head, began))
        if head.status == 101 or (exchange.method == "CONNECT" and head.status < 300):
            self._change_protocol(exchange, head, time)
            return False
        waiting = self._initiator.state is State.WAITING and self._initiator.exchange is exchange
        try:
            self._begin_body(side, BodyReader(*response_framing(head, exchange.method)), time)
        except MalformedBody:
            self._lose(side, "malformed")
        if waiting and self._initiator.state is State.WAITING:
            self._initiator.begin_head()
            self._initiator.began = time
        return True

    def _begin_body(self, side: Side, body: BodyReader, time: int) -> None:
        side.body, side.state = body, State.BODY
        if body.ended:
            self._end_message(side, time)

    def _read_body(self, side: Side, data: bytes, time: int) -> bool:
        """Read what of the data belongs to the body, and hold what is behind it; whether there may be more to read."""
        body, exchange = side.body, side.exchange
        assert body is not None, "a body is being read"
        assert exchange is not None, "of a message"
        refused = False if body.touched else self._was_refused(exchange, side, data)
        pieces: Pieces = []
        read = body.receive_data(data, 0, pieces) if refused is False else 0
        side.held[:0] = data[read:]
        for part, raw in pieces:
            side.wire_bytes += len(raw)
            self._give_span(exchange.number, side, part, raw)
            if part is Part.CONTENT:
                self._give(exchange, Body(exchange.number, side.direction, raw))
        if body.malformed:
            self._lose(side, "malformed")
        elif body.ended or refused:
            self._end_message(side, time)
        return refused is not None

    def _was_refused(self, exchange: Exchange, side: Side, data: bytes) -> bool | None:
        """Whether an initiator that waited for leave to send its body was refused, and begins its next request instead."""
        if side is self._responder or not exchange.awaits_continue or exchange in self._outstanding:
            return False
        if not may_begin_request(data):
            return False
        body = side.body
        whole = body is not None and body.kind is Kind.LENGTH and len(data) >= body.remaining
        verdict = is_request_head(data)
        return False if verdict is None and whole else verdict

    def _end_message(self, side: Side, time: int) -> None:
        exchange = side.exchange
        assert exchange is not None, "only a message can end"
        self._give(exchange, MessageEnded(exchange.number, side.direction, time, side.wire_bytes))
        if side is self._initiator:
            side.began = time
            if exchange.changes_protocol and exchange in self._outstanding:
                side.state, side.body = State.WAITING, None
                return
        else:
            self._outstanding.popleft()
        side.begin_head()
        side.began = time

    def _change_protocol(self, exchange: Exchange, head: ResponseHead, time: int) -> None:
        self._end_message(self._responder, time)
        named = values_of(head.headers, "upgrade")
        protocol = "connect" if head.status != 101 else (named[0].lower() if named else "")
        self._give(exchange, Upgraded(exchange.number, protocol))
        for side in (self._initiator, self._responder):
            self._pass_body(side)
            side.state, side.exchange = State.TUNNEL, exchange
            self._pass_unread(side)

    # What is not as it should be.

    def _receive_missing(self, side: Side, length: int, time: int, reason: Reason) -> None:
        turn = self._speaker != side.direction
        self._speaker = side.direction
        if side is self._responder:
            self._end_turn()
        if side.state is State.HEAD and not side.held and reason == "omitted":
            side.turn = turn
            return
        self._sure = False
        if side.state in (State.TUNNEL, State.FOREIGN):
            return
        body, exchange = side.body, side.exchange
        if body and exchange and not side.held and body.receive_missing(length):
            assert reason in ("gap", "omitted"), "nothing else is missing"
            side.wire_bytes += length
            exchange.awaits_continue = False
            self._give(exchange, BodyMissing(exchange.number, side.direction, length, reason))
            if body.ended:
                self._end_message(side, time)
            return
        self._lose(side, reason)

    def _lose(self, side: Side, reason: Reason) -> None:
        """From here on it is not known where the next message begins."""
        self._break_off(side, reason)
        side.state = State.LOST
        if side is self._initiator:
            self._seeker.receive_gap()
            return
        self._interrupt_outstanding(reason)
        if self._initiator.state is State.WAITING:
            self._lose(self._initiator, reason)

    def _break_off(self, side: Side, reason: Reason) -> None:
        """Read no further in the message that is being read."""
        if side.state in (State.HEAD, State.BODY) and side.exchange:
            self._interrupt(side.exchange, reason)
        if side is self._initiator and side.state is State.LOST:
            self._seeker.receive_gap()
        self._pass_body(side)
        self._pass_unread(side)
        if side.state is not State.TUNNEL:
            side.begin_head()
            side.state = State.LOST

    def _refuse(self, side: Side) -> None:
        """What should be a head is none."""
        if self._sure and not self._count and not may_begin_request(side.held):
            self._declare_foreign()
        else:
            self._lose(side, "malformed")

    def _judge_unasked(self, side: Side) -> None:
        """Bytes came from the responder while it owes no response: the request may come yet, if packets overtook each other."""
        if self._sure and not self._count and not may_begin_response(side.held):
            self._declare_foreign()
        elif not self._sure or len(side.held) > MAX_HEAD_BYTES:
            self._lose(side, "malformed")  # the request was missed, or there is none

    def _recognise(self, first: bytearray, payload: bytes) -> None:
        first += payload[: TLS_HEADER_BYTES - len(first)]
        if looks_like_tls_record(bytes(first)):
            self._declare_foreign()

    def _declare_foreign(self) -> None:
        self._events.append(NotHttp())
        self._first = None
        for side in (self._initiator, self._responder):
            side.state = State.FOREIGN
            self._pass_unread(side)

    def _interrupt_outstanding(self, reason: Reason) -> None:
        while self._outstanding:
            self._interrupt(self._outstanding.popleft(), reason)

    # Looking for the next request.

    def _seek(self, payload: bytes, time: int) -> None:
        side = self._initiator
        if not side.held:
            side.began = time
        side.held += payload
        before = self._seeker.skipped
        found = self._seeker.receive_data(payload)
        self._pass_unread(side, self._seeker.skipped - before)
        if found is not None:
            if self._outstanding:  # whose responses come next cannot be told
                self._lose(self._responder, "gap")
            side.begin_head()
            side.turn = True
            self._advance(side, time)

    def _end_turn(self) -> None:
        """The responder speaks: what is held of the turn is no request, or none whose response could be told."""
        if self._initiator.state is State.LOST:
            self._seeker.receive_turn()
            self._pass_unread(self._initiator)
