"""One connection that is looked at: what its conversation says, gathered into records."""

from dataclasses import dataclass, field

from podmirror.inspection.connection import ConnectionSummary, Record
from podmirror.inspection.exchange import Body, Exchange, Request, Response, State
from podmirror_http import pairing
from podmirror_http.protocols import BEGINNING_BYTES, UNKNOWN, Recognition, recognise
from podmirror_wire.frames import (
    Closed,
    ConnectionFrame,
    Data,
    Ended,
    Gap,
    Omitted,
    Opened,
    Recognised,
    Timed,
)
from podmirror_wire.values import CloseReason, Direction


@dataclass(slots=True)
class Open:
    """Exchanges in progress of all connections, and what may still be kept of their bodies."""

    body_bytes: int
    """Of each body."""
    room: int
    """Bytes of all of them together."""
    exchanges: dict[tuple[int, int], Exchange] = field(default_factory=dict)
    """By the numbers of their connection and of themselves, the oldest first."""

    def keep(self, body: Body, content: bytes) -> None:
        """Take the next bytes of a body, and keep what there is room for."""
        self.room -= body.receive(content, min(self.body_bytes, len(body.kept) + self.room))

    def remove(self, exchange: Exchange) -> None:
        """Take out an exchange that is finished."""
        del self.exchanges[exchange.connection, exchange.number]
        self.room += len(exchange.request.body.kept)
        self.room += len(exchange.response.body.kept) if exchange.response else 0


class Observed:
    """A connection."""

    def __init__(self, pod: str, opened: Opened, shared: Open) -> None:
        self._opened = opened
        self._shared = shared
        self._conversation = pairing.Conversation(late=opened.late)
        self._now = opened.pod_time
        self._open: dict[int, Exchange] = {}
        self._beginnings: list[bytes] | None = [b"", b""]
        """The first bytes of each direction; None once it is clear that this is HTTP/1."""
        self._summary = ConnectionSummary(
            pod, opened.connection, opened.initiator, opened.responder, opened.pod_time, UNKNOWN
        )
        self._summary.late = opened.late
        self._upgrade = ""
        self._recognised: Recognition | None = None
        """What the agent says that it is, where it keeps the bytes back."""

    def receive_frame(self, frame: ConnectionFrame) -> list[Record]:
        """Take the connection's next frame, and give what it finishes."""
        now, conversation = self._now, self._conversation
        match frame:
            case Timed():
                self._now = frame.pod_time
                return []
            case Recognised():
                self._recognised = Recognition(
                    frame.says.get("protocol", UNKNOWN), frame.says.get("detail", "")
                )
                return []
            case Data():
                self._begin(frame.direction, frame.payload)
                self._summary.bytes[frame.direction] += len(frame.payload)
                return self._gather(conversation.receive_data(frame.direction, frame.payload, now))
            case Omitted():
                self._summary.bytes[frame.direction] += frame.length
                self._summary.left_out += frame.length
                return self._gather(conversation.receive_omitted(frame.direction, frame.length, now))
            case Gap():
                self._summary.bytes[frame.direction] += frame.length
                self._summary.missing += frame.length
                return self._gather(conversation.receive_gap(frame.direction, frame.length, now))
            case Ended():
                return self._gather(conversation.receive_end(frame.direction, now))
            case Closed():
                self._summary.missing += frame.unsent
                return self.close(frame.reason)
        return []

    def close(self, reason: CloseReason | None) -> list[Record]:
        """Nothing more comes; give what was open.

        Args:
            reason: As the agent said; None if the session ended before the connection.
        """
        finished = self._gather(self._conversation.close())
        finished += [self._finish(exchange) for exchange in list(self._open.values())]
        if self._beginnings is not None or self._upgrade:
            self._summary.ended = self._now
            self._summary.closed_as = reason
            found = self._recognition()
            self._summary.protocol, self._summary.detail = found.protocol, found.detail
            finished.append(self._summary)
        return finished

    def give_up(self, exchange: Exchange) -> Exchange:
        """Finish an exchange that is open, since there are too many."""
        return self._finish(exchange)

    def _begin(self, direction: Direction, payload: bytes) -> None:
        if self._beginnings is None:
            return
        room = BEGINNING_BYTES - len(self._beginnings[direction])
        if room > 0:
            self._beginnings[direction] += payload[:room]

    def _recognition(self) -> Recognition:
        if self._upgrade:
            return Recognition(self._upgrade)
        assert self._beginnings is not None, "kept for what is not HTTP/1"
        if not any(self._summary.bytes):
            return Recognition("nothing said")
        if self._recognised is not None:
            return self._recognised
        return recognise(*self._beginnings, late=self._opened.late)

    def _gather(self, events: list[pairing.Event]) -> list[Record]:
        finished: list[Record] = []
        for event in events:
            self._apply(event, finished)
        return finished

    def _apply(self, event: pairing.Event, finished: list[Record]) -> None:
        match event:
            case pairing.RequestBegan():
                self._begin_exchange(event)
                return
            case pairing.Upgraded():
                self._change_protocol(event, finished)
                return
            case pairing.TunnelData() | pairing.NotHttp() | pairing.InterimResponse():
                return
        exchange = self._open.get(event.exchange)
        if exchange is None:
            return  # given up before
        match event:
            case pairing.ResponseBegan():
                head = event.head
                exchange.response = Response(
                    head.version, head.headers, len(head.raw), status=head.status, reason=head.reason
                )
                exchange.first_byte = event.time
            case pairing.Body():
                self._shared.keep(_body(exchange, event.direction), event.content)
            case pairing.BodyMissing():
                on_purpose = event.reason == "omitted"
                _body(exchange, event.direction).skip(event.length, on_purpose=on_purpose)
            case pairing.MessageEnded():
                message = exchange.response if event.direction else exchange.request
                assert message is not None, "a message begins before it ends"
                message.ended, message.wire_bytes = event.time, event.wire_bytes
                if exchange.is_over:
                    finished.append(self._finish(exchange))
            case pairing.Interrupted():
                exchange.interruption = event.reason
                finished.append(self._finish(exchange))

    def _begin_exchange(self, event: pairing.RequestBegan) -> None:
        self._beginnings = None
        opened, head = self._opened, event.head
        request = Request(head.version, head.headers, len(head.raw), method=head.method, target=head.target)
        exchange = Exchange(
            self._summary.pod,
            opened.connection,
            event.exchange,
            opened.initiator,
            opened.responder,
            event.time,
            request,
        )
        self._open[event.exchange] = exchange
        self._shared.exchanges[opened.connection, event.exchange] = exchange

    def _change_protocol(self, event: pairing.Upgraded, finished: list[Record]) -> None:
        """The exchange that led to it has just ended."""
        self._upgrade = event.protocol or UNKNOWN
        for record in finished:
            if isinstance(record, Exchange) and record.number == event.exchange:
                record.upgrade = self._upgrade

    def _finish(self, exchange: Exchange) -> Exchange:
        exchange.state = self._state(exchange)
        del self._open[exchange.number]
        self._shared.remove(exchange)
        return exchange

    def _state(self, exchange: Exchange) -> State:
        if exchange.missing_bytes or exchange.interruption == "gap":
            return State.GAP
        if not exchange.is_over:
            return State.UNFINISHED
        return State.JOINED_LATE if self._opened.late else State.COMPLETE


def _body(exchange: Exchange, direction: int) -> Body:
    message = exchange.response if direction else exchange.request
    assert message is not None, "a message begins before its body"
    return message.body
