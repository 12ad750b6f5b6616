"""What to do with one mirrored connection, decided without I/O.

Theory of operation. The frames of a mirrored connection go in, steps for a local connection come out. A local connection is
begun when it is clear that a replay makes sense: when the initiator has spoken first, and not in TLS. From then on its bytes
are written as they come, its FIN becomes a half-close, and its end an end or a reset.

A local process must never take incomplete bytes for complete ones. So wherever bytes are missing (a gap, a cut, an agent that
ended) the local connection is reset behind the last byte that is certain. With `on_gap="rejoin"` a new one is begun at the next
HTTP request, which is also how a late join begins.

What cannot be replayed is given up with the reason: TLS, because the local process does not hold the session's keys, and
protocols in which the server speaks first, because their bytes make sense only as answers to what this server said. HTTP/2 is
none of those, though its server may send settings before it has heard anything (RFC 9113, 3.4): its client's first bytes tell.
As soon as nothing more will be delivered the agent is told so, once, and sends no more than the number of bytes.

In a session that selects exchanges or redacts, the agent leaves bytes out. Between two requests those are whole ones that were
not selected, and nothing is the matter. Within one they are what could not be redacted safely: the local connection is reset,
and another begun at the next request.

Every byte of the initiator is counted once: written, missing, left out, skipped on the way to a request, or passed over. The
ledger rests on that.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Literal

from podmirror.outcome import ENDS
from podmirror.outcome import Outcome as Outcome
from podmirror_http.boundary import BoundarySeeker
from podmirror_http.recognition import HTTP2_PREFACE, begins_http2, looks_like_tls, looks_like_tls_record
from podmirror_http.tracking import RequestTracker
from podmirror_wire.frames import Closed, ConnectionFrame, Data, Ended, Gap, Omitted, Opened
from podmirror_wire.values import CloseReason, Direction

OnGap = Literal["reset", "rejoin"]
LateJoins = Literal["skip", "http", "raw"]
"""What is done with a connection whose beginning was not seen: nothing, or begin at its next HTTP/1 request or next byte."""


class Begin:
    """Open a local connection."""


@dataclass(frozen=True, slots=True)
class Write:
    """Write bytes to the local connection."""

    payload: bytes
    begins_turn: bool = False
    """Whether they are the initiator's first bytes after the responder said something."""


class HalfClose:
    """Tell the local process that no more comes, and let it speak on."""


class Finish:
    """The mirrored connection ended in good order: close the local one once the local process is done."""


class Reset:
    """Reset the local connection, behind all that was written before."""


@dataclass(frozen=True, slots=True)
class Pass:
    """Do nothing with so many bytes but give credit for them."""

    size: int


class Dismiss:
    """Tell the agent that no more bytes are wanted."""


Step = Begin | Write | HalfClose | Finish | Reset | Pass | Dismiss


class _State(Enum):
    SILENT = "silent"
    """The initiator has said too little to tell whether it can be replayed."""
    FLOWING = "flowing"
    SEEKING = "seeking"
    OVER = "over"


class Forwarding:
    """One mirrored connection on its way to the local process."""

    def __init__(
        self,
        opened: Opened,
        *,
        on_gap: OnGap = "reset",
        late_joins: LateJoins = "http",
        screened: bool = False,
    ) -> None:
        """Begin; `screened` says whether the session selects exchanges or redacts."""
        self.opened = opened
        self.outcome = Outcome.OPEN
        self.written = 0
        """Bytes that were to go to a local connection, those that it could not take any more included."""
        self.missing = 0
        """Bytes that the app received and this session could not give to anyone."""
        self.passed_over = 0
        """Bytes of the initiator that were seen and, by intent, given to nobody: those of a connection that was given up."""
        self.unsent = 0
        """Of the missing bytes those that the agent had, and gave up."""
        self.left_out = 0
        """Bytes that the agent left out on purpose."""
        self._tracker = RequestTracker() if screened else None
        self.closed_as: CloseReason | None = None
        """How the agent said that it ended; None while it is open."""
        self._on_gap = on_gap
        self._raw = opened.late and late_joins == "raw"
        self._state = _State.SEEKING if opened.late and late_joins == "http" else _State.SILENT
        if opened.late and late_joins == "skip":
            self.outcome = Outcome.SKIPPED
            self._state = _State.OVER
        self._seeker = BoundarySeeker(turn=opened.late)
        self._beginning = b""
        """The initiator's first bytes, while it is not clear what they are."""
        self._turn_beginning: bytes | None = b"" if opened.late else None
        """The same of its turn in a late join; None once it is clear, or not known."""
        self._answered = False
        """Whether the responder spoke first."""
        self._turn = False
        self._begun = 0
        self._blemish: Outcome | None = None
        """What keeps this connection from being whole, whatever its end."""
        self._unserved = False
        self._dismissed = False

    @property
    def skipped(self) -> int:
        """Bytes before the request at which it was joined or rejoined."""
        return self._seeker.skipped

    def receive_frame(self, frame: ConnectionFrame) -> list[Step]:
        """Take the connection's next frame, and give what to do."""
        match frame:
            case Data(direction=Direction.TO_RESPONDER):
                return self._receive_data(frame.payload)
            case Omitted(direction=Direction.TO_RESPONDER):
                return self._receive_omitted(frame.length)
            case Data() | Omitted():
                return self._receive_response(len(frame.payload) if isinstance(frame, Data) else 0)
            case Gap(direction=Direction.TO_RESPONDER):
                return self._receive_gap(frame.length)
            case Gap():
                return self._receive_response(0)
            case Ended(direction=Direction.TO_RESPONDER):
                return self._receive_end()
            case Closed():
                return self._receive_close(frame)
        return self._dismiss() if self._state is _State.OVER else []

    def fail(self, begun: int) -> list[Step]:
        """The local connection that was the `begun`-th, from 1, failed for good: what comes for it is not delivered."""
        if begun < self._begun or self._state is not _State.FLOWING:
            return []
        self._unserved = True
        self._state = _State.OVER
        return self._dismiss()

    def abandon(self) -> None:
        """The session is over before the connection is; what is held back is given to nobody."""
        if self._state is _State.SEEKING:
            self._drop_held()
        size, self._beginning = len(self._beginning), b""
        self._pass_over(size)
        if self.outcome is Outcome.OPEN:
            spoke_first = self._answered and self._state is _State.SILENT
            self.outcome = self._blemish or (Outcome.SERVER_FIRST if spoke_first else Outcome.UNFINISHED)

    def _receive_data(self, payload: bytes) -> list[Step]:
        if self._tracker is not None:
            self._tracker.receive_data(payload)
        match self._state:
            case _State.FLOWING:
                return [self._write(payload)]
            case _State.SEEKING:
                return self._seek(payload)
            case _State.SILENT:
                self._beginning += payload
                return self._judge_beginning()
        self._pass_over(len(payload))
        return [Pass(len(payload))]

    def _judge_beginning(self) -> list[Step]:
        if self._raw:
            return self._begin()
        if self._answered:
            replayable = begins_http2(self._beginning)
            unfit = Outcome.SERVER_FIRST
        else:
            tls = looks_like_tls(self._beginning)
            replayable = None if tls is None else not tls
            unfit = Outcome.TLS
        if replayable is None:
            return []
        return self._begin() if replayable else self._give_up(unfit)

    def _receive_omitted(self, length: int) -> list[Step]:
        if self._state is _State.OVER:
            self._pass_over(length)
            return []
        if self._tracker is None:
            return self._receive_gap(length)  # not asked for here, and as good as lost
        self.left_out += length
        if not self._tracker.between_requests:
            return self._break(Outcome.WITHHELD, rejoin=True)
        if self._state is not _State.SEEKING:
            return []
        steps = self._drop_held()
        self._seeker.receive_turn()  # the agent leaves out whole requests: the next begins here
        return steps

    def _receive_response(self, size: int) -> list[Step]:
        steps: list[Step] = [Pass(size)] if size else []
        if self._state is _State.SILENT and not self._beginning and not self._raw and not self.left_out:
            self._answered = True
        elif self._state is _State.SEEKING:
            steps += self._end_turn()
        self._turn = True
        return steps

    def _receive_gap(self, length: int) -> list[Step]:
        self.missing += length
        if self._state is _State.OVER:
            return []
        if self._state is _State.SILENT and self._answered:
            return self._give_up(Outcome.SERVER_FIRST)  # nothing will show any more that it was not
        return self._break(Outcome.GAP, rejoin=self._on_gap == "rejoin")

    def _break(self, blemish: Outcome, *, rejoin: bool) -> list[Step]:
        """Deliver nothing behind what is certain, except, with `rejoin`, from the next request on."""
        self._blemish = self._blemish if self._blemish is Outcome.GAP else blemish
        if self._state is _State.SILENT and self._raw:
            return []  # nothing was delivered, so nothing is spoilt
        before = self._state
        steps = self._drop_held()
        if self._beginning:
            steps += self._begin()
        if before is _State.FLOWING or any(isinstance(step, Begin) for step in steps):
            steps.append(Reset())
        if rejoin or before is _State.SEEKING:  # in which no local connection was spoilt
            self._state = _State.SEEKING
            return steps
        self._state = _State.OVER
        return [*steps, *self._dismiss()]

    def _receive_end(self) -> list[Step]:
        steps = self._settle_beginning()
        if self._state is _State.SEEKING:
            steps += self._end_turn()
        if self._state is _State.FLOWING:
            steps.append(HalfClose())
        return steps

    def _receive_close(self, closed: Closed) -> list[Step]:
        self.closed_as = closed.reason
        steps = self._settle_beginning()
        end = ENDS.get(closed.reason, Outcome.UNFINISHED)
        self.missing += closed.unsent
        self.unsent = closed.unsent
        if self._state is _State.SEEKING:
            self._drop_held()
        if self.outcome is Outcome.OPEN:
            self.outcome = self._blemish or self._end_of_late_join(end)
        if self._state is _State.FLOWING:
            # At a file's end, a connection that is still open has given all that it had.
            at_its_end = end is Outcome.WHOLE or closed.reason is CloseReason.CAPTURE_ENDED
            steps.append(Finish() if at_its_end else Reset())
        self._state = _State.OVER
        return steps

    def _end_of_late_join(self, end: Outcome) -> Outcome:
        """Give what becomes of a connection with that end, if it may have been joined late."""
        if not self.opened.late or end in (Outcome.CUT, Outcome.SHED):
            return end
        if not self.written and not self._raw:
            return Outcome.UNJOINED
        return Outcome.JOINED if end in (Outcome.WHOLE, Outcome.RESET) else end

    def _settle_beginning(self) -> list[Step]:
        """The initiator says no more: decide what its first bytes were, if that was open."""
        if self.left_out and not self.written and not self._beginning and self._blemish is None:
            steps = self._drop_held()
            self.outcome, self._state = Outcome.FILTERED, _State.OVER
            return steps
        if self._state is not _State.SILENT or self._raw:
            return []
        return self._give_up(Outcome.SERVER_FIRST) if self._answered else self._begin()

    def _begin(self) -> list[Step]:
        beginning, self._beginning = self._beginning, b""
        self._state = _State.FLOWING
        self._begun += 1
        return [Begin(), self._write(beginning)] if beginning else [Begin()]

    def _write(self, payload: bytes) -> Write:
        self.written += len(payload)
        turn, self._turn = self._turn, False
        return Write(payload, begins_turn=turn)

    def _seek(self, payload: bytes) -> list[Step]:
        foreign = self._judge_turn(payload)
        if foreign is not None:
            self._beginning = payload
            return [*self._drop_held(), *self._give_up(foreign)]
        skipped = self._seeker.skipped
        found = self._seeker.receive_data(payload)
        return self._join(found, skipped)

    def _judge_turn(self, payload: bytes) -> Outcome | None:
        """Recognise what can never be joined by the first bytes of a turn."""
        if self._turn_beginning is None:
            return None
        self._turn_beginning += payload[: len(HTTP2_PREFACE)]
        if looks_like_tls_record(self._turn_beginning):
            return Outcome.TLS
        if begins_http2(self._turn_beginning):
            return Outcome.HTTP2
        if len(self._turn_beginning) >= len(HTTP2_PREFACE):
            self._turn_beginning = None
        return None

    def _end_turn(self) -> list[Step]:
        if self.opened.late and not self.written:
            self._turn_beginning = b""
        skipped = self._seeker.skipped
        found = self._seeker.receive_turn()
        return self._join(found, skipped)

    def _join(self, found: bytes | None, skipped: int) -> list[Step]:
        steps = self._pass_skipped(skipped)
        if found is not None:
            self._beginning = found
            steps += self._begin()
        return steps

    def _drop_held(self) -> list[Step]:
        self._turn_beginning = None
        skipped = self._seeker.skipped
        self._seeker.receive_gap()
        return self._pass_skipped(skipped)

    def _pass_skipped(self, before: int) -> list[Step]:
        skipped = self._seeker.skipped - before
        return [Pass(skipped)] if skipped else []

    def _pass_over(self, size: int) -> None:
        if self._unserved:
            self.written += size
        else:
            self.passed_over += size

    def _give_up(self, outcome: Outcome) -> list[Step]:
        size, self._beginning = len(self._beginning), b""
        self.outcome = outcome
        self._state = _State.OVER
        self._pass_over(size)
        return [*([Pass(size)] if size else []), *self._dismiss()]

    def _dismiss(self) -> list[Step]:
        if self._dismissed or self.closed_as is not None:
            return []
        self._dismissed = True
        return [Dismiss()]
