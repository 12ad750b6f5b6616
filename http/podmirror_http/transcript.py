"""What a conversation gives: events, and the spans behind them."""

from podmirror_http.events import (
    TO_INITIATOR,
    TO_RESPONDER,
    Event,
    Interrupted,
    Part,
    Reason,
    Span,
    TunnelData,
)
from podmirror_http.exchange import Exchange
from podmirror_http.side import Side, State


class Transcript:
    """The events that were not given yet."""

    def __init__(self, beginning: State, *, spans: bool) -> None:
        """Begin both directions in a state; `spans` says whether every byte is to be given in a `Span`."""
        self._spans = spans
        self._initiator = Side(TO_RESPONDER, beginning)
        self._responder = Side(TO_INITIATOR, beginning)
        self._events: list[Event] = []

    @property
    def held(self) -> int:
        """Bytes in memory, which are in no event yet."""
        held = 0
        for side in (self._initiator, self._responder):
            held += len(side.held) * (2 if side.state is State.LOST else 1)  # the seeker has them, too
            held += side.body.held if side.body else 0
        return held

    def _side(self, direction: int) -> Side:
        return self._initiator if direction == TO_RESPONDER else self._responder

    def _pass_body(self, side: Side) -> None:
        if side.body is not None:
            self._give_span(0, side, Part.UNKNOWN, side.body.drop())
            side.body = None

    def _pass_unread(self, side: Side, size: int | None = None) -> None:
        """Give held bytes that are of no message."""
        raw = side.take(len(side.held) if size is None else size)
        if side.state is State.TUNNEL and side.exchange and raw:
            self._events.append(TunnelData(side.direction, len(raw)))
            self._give_span(side.exchange.number, side, Part.TUNNEL, raw)
        else:
            self._give_span(0, side, Part.UNKNOWN, raw)

    def _give(self, exchange: Exchange, event: Event) -> None:
        if not exchange.interrupted:
            self._events.append(event)

    def _interrupt(self, exchange: Exchange, reason: Reason) -> None:
        self._give(exchange, Interrupted(exchange.number, reason))
        exchange.interrupted = True

    def _give_span(self, exchange: int, side: Side, part: Part, raw: bytes) -> None:
        if self._spans and raw:
            self._events.append(Span(exchange, side.direction, part, raw))

    def _take_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events
