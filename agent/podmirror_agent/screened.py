"""One connection of a session that selects or redacts: what of its bytes goes on, and what is left out.

Theory of operation. The connection's bytes are read as exchanges. They wait here, in the order in which they came, until it is
clear whether their exchange is wanted and what of them is secret; then they go on, or an `Omitted` takes their place. So a
direction's offsets stay true, and an exchange goes on whole or not at all. Bytes of no exchange that was understood cannot be
judged: they are left out.

What waits is taken from the agent's budget. Where that, or this connection's own limit, is used up, what waits is left out. If
not even what the reading itself holds can be had, the connection is left out to its end.
"""

from collections import deque

from podmirror_agent.budget import OVERHEAD_BYTES
from podmirror_agent.pending import Pending, Verdict
from podmirror_agent.terms import Stamped, Terms
from podmirror_http.bodyredaction import BodyRedaction, Passed
from podmirror_http.echoes import Echoes
from podmirror_http.pairing import (
    BodyMissing,
    Conversation,
    Event,
    InterimResponse,
    Interrupted,
    MessageEnded,
    Part,
    RequestBegan,
    ResponseBegan,
    Span,
)
from podmirror_http.redaction import HeadRedaction
from podmirror_wire.frames import Data, Ended, Gap, Omitted
from podmirror_wire.values import Direction

MAX_HELD_BYTES = 2 << 20
"""Of a connection: a body that is redacted whole, and the one that answers it."""

READER_BYTES = 4096
"""What reading a connection costs besides what it holds, about."""


class Screened:
    """One connection."""

    def __init__(self, connection: int, terms: Terms, *, late: bool) -> None:
        self._number = connection
        self._terms = terms
        self._reader: Conversation | None = Conversation(late, spans=True)
        self._items: deque[Pending] = deque()
        self._offsets: dict[Direction, int] = {}
        """Of the next byte that the reader gives back."""
        self._unknown = Verdict(wanted=terms.selection is None)
        """Of bytes that are of no exchange."""
        self._verdicts: dict[int, Verdict] = {}
        self._bodies: dict[Direction, tuple[int, BodyRedaction]] = {}
        """Bodies that are being redacted, with their exchange."""
        self._undecided: dict[Direction, deque[Pending]] = {each: deque() for each in Direction}
        self._ends: dict[Direction, Ended] = {}
        """Of directions of which the reader still holds bytes."""
        self._left: dict[Direction, tuple[int, int, bool]] = {}
        """Bytes to be left out: offset, number, and whether that can wait until something else is sent."""
        self._queued = 0
        self._charged = 0
        self._output: list[Stamped] = []
        self._echoes = Echoes()
        self._heads = HeadRedaction(terms.pseudonyms, terms.rules, self._echoes) if terms.pseudonyms else None
        self._now = 0
        self._charge()

    def receive_event(self, event: Data | Omitted | Gap | Ended, pod_time: int) -> list[Stamped]:
        """Take what happened, and give what goes on."""
        self._now = pod_time
        if isinstance(event, Data):
            self._offsets.setdefault(event.direction, event.offset)
            if self._reader is None:
                self._offsets[event.direction] = event.offset + len(event.payload)
                self._leave_unread(event.direction, event.offset, len(event.payload))
            else:
                self._take(self._reader.receive_data(event.direction, event.payload, pod_time))
        else:
            self._receive_frame(event)
        self._release()
        self._charge()
        return self._take_output()

    def close(self, pod_time: int) -> list[Stamped]:
        """The connection, or the session, is over: give what is left of it."""
        self._now = pod_time
        if self._reader is not None:
            self._take(self._reader.close())
        self._give_up()
        self._flush(everything=True)
        self._reader = None
        self._terms.budget.give(self._charged)
        self._charged = 0
        return self._take_output()

    # What the reader says.

    def _receive_frame(self, event: Omitted | Gap | Ended) -> None:
        if isinstance(event, Ended):
            self._ends[event.direction] = event
            self._take(self._reader.receive_end(event.direction, self._now) if self._reader else [])
            return
        verdict = self._unknown
        if self._reader is not None:
            if isinstance(event, Gap):
                events = self._reader.receive_gap(event.direction, event.length, self._now)
            else:
                events = self._reader.receive_omitted(event.direction, event.length, self._now)
            self._take(events)
            missing = next((each for each in events if isinstance(each, BodyMissing)), None)
            verdict = self._verdict(missing.exchange) if missing else Verdict(wanted=True)
        self._queue_frame(event, verdict)
        self._offsets[event.direction] = event.offset + event.length

    def _queue_frame(self, frame: Omitted | Gap | Ended, verdict: Verdict) -> None:
        item = Pending(frame.direction, frame.offset, self._now, verdict)
        item.frame = frame
        self._items.append(item)

    def _take(self, events: list[Event]) -> None:
        for at, event in enumerate(events):
            match event:
                case Span():
                    self._take_span(event, events[at + 1] if at + 1 < len(events) else None)
                case BodyMissing():
                    self._redact_further(event.exchange, Direction(event.direction), missing=True)
                case MessageEnded():
                    self._redact_further(event.exchange, Direction(event.direction), missing=False)
                    if event.direction == Direction.TO_INITIATOR:
                        self._forget_before(event.exchange)
                case Interrupted():
                    self._interrupt(event.exchange)
        for direction, end in list(self._ends.items()):
            if (
                self._offsets.get(direction, end.offset) >= end.offset
            ):  # else the reader holds what is before it
                self._queue_frame(self._ends.pop(direction), Verdict(wanted=True))

    def _take_span(self, span: Span, following: Event | None) -> None:
        if isinstance(following, RequestBegan):
            self._judge_request(following)
        elif isinstance(following, ResponseBegan):
            self._judge_response(following)
        direction = Direction(span.direction)
        offset = self._offsets[direction]
        self._offsets[direction] = offset + len(span.raw)
        item = Pending(direction, offset, self._now, self._verdict(span.exchange))
        if isinstance(following, RequestBegan | ResponseBegan) and span.part is Part.HEAD:
            item.pod_time = following.time
        self._queued += len(span.raw) + OVERHEAD_BYTES
        self._items.append(item)
        if self._heads is None or not self._terms.sends[direction] or item.verdict.wanted is False:
            item.parts.append(span.raw)
        elif span.part is Part.CONTENT and direction in self._bodies:
            item.missing = len(span.raw)
            self._undecided[direction].append(item)
            self._decide(direction, self._bodies[direction][1].receive_content(span.raw))
        else:
            redacted = self._redact(self._heads, span, following)
            item.parts.append(redacted if redacted is not None else len(span.raw))

    def _redact(self, heads: HeadRedaction, span: Span, following: Event | None) -> bytes | None:
        """Give what may go on in the place of a span; None for nothing."""
        match span.part, following:
            case Part.HEAD, InterimResponse():
                return heads.redact_head(following.head)
            case Part.HEAD, RequestBegan() | ResponseBegan():
                redacted = heads.redact_head(following.head)
                self._begin_body(following, Direction(span.direction), safe=redacted is not None)
                return redacted
            case Part.FRAMING, _:
                return heads.redact_extensions(span.raw) if b";" in span.raw else span.raw
            case Part.TRAILERS, _:
                return heads.redact_trailers(span.raw)
        return None

    def _begin_body(self, began: RequestBegan | ResponseBegan, direction: Direction, *, safe: bool) -> None:
        assert self._terms.pseudonyms is not None, "it redacts"
        body = BodyRedaction(self._terms.pseudonyms, self._terms.rules, began.head.headers, self._echoes)
        if not safe:
            body.give_up()
        if direction in self._bodies:  # of an exchange that was interrupted: nobody tells its end
            self._decide(direction, self._bodies[direction][1].receive_end())
        self._bodies[direction] = (began.exchange, body)

    def _redact_further(self, exchange: int, direction: Direction, *, missing: bool) -> None:
        number, body = self._bodies.get(direction, (0, None))
        if body is None or number != exchange:
            return
        self._decide(direction, body.receive_missing() if missing else body.receive_end())
        if not missing:
            del self._bodies[direction]

    def _decide(self, direction: Direction, passed: Passed) -> None:
        """Say of the first undecided bytes of a direction how they go on."""
        waiting = self._undecided[direction]
        for part in passed:
            size = part if isinstance(part, int) else len(part)
            at = 0
            while at < size:
                item = waiting[0]
                taken = min(item.missing, size - at)
                item.parts.append(taken if isinstance(part, int) else part[at : at + taken])
                item.missing -= taken
                at += taken
                if not item.missing:
                    waiting.popleft()

    # Verdicts.

    def _verdict(self, exchange: int) -> Verdict:
        if not exchange:
            return self._unknown
        verdict = self._verdicts.get(exchange)
        if verdict is None:
            verdict = self._verdicts[exchange] = Verdict(wanted=None if self._terms.selection else True)
        return verdict

    def _forget_before(self, exchange: int) -> None:
        """An exchange has ended, and with it all that began earlier."""
        while (first := next(iter(self._verdicts))) < exchange:
            del self._verdicts[first]

    def _judge_request(self, began: RequestBegan) -> None:
        selection = self._terms.selection
        if selection is None:
            return
        if not selection.admits_request(began.head):
            self._refuse(began.exchange)
        elif not selection.waits_for_response:
            self._verdict(began.exchange).wanted = True

    def _judge_response(self, began: ResponseBegan) -> None:
        selection, verdict = self._terms.selection, self._verdict(began.exchange)
        if selection is None or verdict.wanted is not None:
            return
        if selection.admits_response(began.head):
            verdict.wanted = True
        else:
            self._refuse(began.exchange)

    def _interrupt(self, exchange: int) -> None:
        for direction in Direction:  # what comes of it yet is not known to follow what came
            self._redact_further(exchange, direction, missing=True)
        if self._verdict(exchange).wanted is None:
            self._terms.tally.unjudged_exchanges += 1
            self._refuse(exchange)

    def _refuse(self, exchange: int) -> None:
        self._verdict(exchange).wanted = False
        self._terms.tally.filtered_exchanges += 1
        for direction, (number, body) in list(self._bodies.items()):
            if number == exchange:
                self._decide(direction, body.give_up())

    # Going on.

    def _release(self) -> None:
        """Let go on what is decided."""
        while self._items:
            item = self._items[0]
            if item.verdict.wanted is None:
                break
            if item.frame is not None:
                self._send_frame(item.frame, filtered=not item.verdict.wanted)
            else:
                self._send_parts(item)
                if item.missing:
                    break
                self._queued -= OVERHEAD_BYTES
            self._items.popleft()
        self._flush(everything=False)

    def _send_parts(self, item: Pending) -> None:
        for part in item.parts:
            size = part if isinstance(part, int) else len(part)
            if item.verdict.wanted is False:
                self._leave_out(item.direction, item.offset, size, filtered=True)
            elif isinstance(part, int):
                self._terms.tally.redacted_out_bytes += size
                self._leave_out(item.direction, item.offset, size, filtered=False)
            elif not self._terms.sends[item.direction]:
                self._leave_out(item.direction, item.offset, size, filtered=False)
            else:
                self._send_data(item, part)
            item.offset += size
            self._queued -= size
        item.parts = []

    def _send_data(self, item: Pending, payload: bytes) -> None:
        self._flush(everything=True)
        last = self._output[-1] if self._output else None
        if (
            last is not None
            and isinstance(last.frame, Data)
            and last.pod_time == item.pod_time
            and last.frame.direction is item.direction
            and last.frame.offset + len(last.frame.payload) == item.offset
        ):
            payload = last.frame.payload + payload
            self._output[-1] = Stamped(
                item.pod_time, Data(self._number, item.direction, last.frame.offset, payload)
            )
            return
        self._output.append(Stamped(item.pod_time, Data(self._number, item.direction, item.offset, payload)))

    def _send_frame(self, frame: Gap | Ended | Omitted, *, filtered: bool) -> None:
        if filtered and not isinstance(frame, Ended):
            self._leave_out(frame.direction, frame.offset, frame.length, filtered=True)
            return
        self._flush(everything=True)
        self._output.append(Stamped(self._now, frame))

    def _leave_unread(self, direction: Direction, offset: int, size: int) -> None:
        if self._terms.selection is None and self._terms.sends[direction]:
            self._terms.tally.redacted_out_bytes += size
        self._leave_out(direction, offset, size, filtered=self._terms.selection is not None)

    def _leave_out(self, direction: Direction, offset: int, size: int, *, filtered: bool) -> None:
        if filtered and (direction is Direction.TO_RESPONDER or self._terms.sends[direction]):
            self._terms.tally.filtered_bytes += size
        first, number, waits = self._left.get(direction, (offset, 0, True))
        self._left[direction] = (first, number + size, waits and filtered)

    def _flush(self, *, everything: bool) -> None:
        """Tell of bytes that are left out; of exchanges that are not wanted only together with something else."""
        for direction in Direction:
            if direction in self._left and (everything or not self._left[direction][2]):
                offset, size, _ = self._left.pop(direction)
                self._output.append(Stamped(self._now, Omitted(self._number, direction, offset, size)))

    def _take_output(self) -> list[Stamped]:
        output, self._output = self._output, []
        return output

    # Memory.

    def _charge(self) -> None:
        """Take what is held from the budget, or hold less."""
        if self._settle():
            return
        self._give_up()
        if self._settle() or self._reader is None:
            return
        self._take(self._reader.close())
        self._reader = None
        self._give_up()
        self._settle()

    def _settle(self) -> bool:
        """Whether what is held now could be had."""
        held = self._queued + self._echoes.held + sum(body.held for _, body in self._bodies.values())
        if self._reader is not None:
            held += self._reader.held + READER_BYTES
        more = held - self._charged
        if more > 0 and (held > MAX_HELD_BYTES or not self._terms.budget.take(more)):
            return False
        if more < 0:
            self._terms.budget.give(-more)
        self._charged = held
        return True

    def _give_up(self) -> None:
        """Leave out everything that waits."""
        for direction, (_, body) in self._bodies.items():
            self._decide(direction, body.give_up())
        for exchange, verdict in list(self._verdicts.items()):
            if verdict.wanted is None:
                self._terms.tally.unjudged_exchanges += 1
                self._refuse(exchange)
        for waiting in self._undecided.values():
            for item in waiting:
                item.parts.append(item.missing)
                item.missing = 0
            waiting.clear()
        self._release()
