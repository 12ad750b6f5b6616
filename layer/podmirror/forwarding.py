"""What to do with one mirrored connection, decided without I/O.

Theory of operation. The frames of a mirrored connection go in, steps for a local connection come out. A local connection is
begun when it is clear that a replay makes sense: when the initiator has spoken first, and not in TLS. From then on its bytes
are written as they come, its FIN becomes a half-close, and its end an end or a reset.

A local process must never take incomplete bytes for complete ones. So wherever bytes are missing (a gap, a cut, an agent that
ended) the local connection is reset behind the last byte that is certain. With `on_gap="rejoin"` a new one is begun at the next
HTTP request, which is also how a late join begins.

What cannot be replayed is given up with the reason: TLS, because the local process does not hold the session's keys, and
protocols in which the server speaks first, because their bytes make sense only as answers to what this server said.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Literal

from podmirror_http.boundary import BoundarySeeker
from podmirror_http.recognition import looks_like_tls
from podmirror_wire.frames import Closed, ConnectionFrame, Data, Ended, Gap, Omitted, Opened
from podmirror_wire.values import CloseReason, Direction

OnGap = Literal["reset", "rejoin"]


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


Step = Begin | Write | HalfClose | Finish | Reset | Pass


class Outcome(Enum):
    """What became of a mirrored connection."""

    OPEN = "open"
    WHOLE = "whole"
    """Every byte went to a local connection, from the SYN to the end."""
    RESET = "reset"
    """The same for a connection that one side reset: what came before it was delivered, and the reset passed on."""
    JOINED = "joined"
    """A late join, delivered from a request on."""
    GAP = "gap"
    """Bytes were missing; what was certain was delivered."""
    CUT = "cut"
    """Given up by the agent, because a byte budget was full."""
    UNFINISHED = "unfinished"
    """Still open when the session ended, or its end was never seen; nothing is known to be missing."""
    TLS = "tls"
    SERVER_FIRST = "server_first"
    UNJOINED = "unjoined"
    """A late join in which no request was recognised."""


_ENDS = {
    CloseReason.FINISHED: Outcome.WHOLE,
    CloseReason.RESET_BY_INITIATOR: Outcome.RESET,
    CloseReason.RESET_BY_RESPONDER: Outcome.RESET,
    CloseReason.CUT: Outcome.CUT,
}


class _State(Enum):
    SILENT = "silent"
    """The initiator has said too little to tell whether it can be replayed."""
    FLOWING = "flowing"
    SEEKING = "seeking"
    OVER = "over"


class Forwarding:
    """One mirrored connection on its way to the local process."""

    def __init__(self, opened: Opened, *, on_gap: OnGap = "reset") -> None:
        self.opened = opened
        self.outcome = Outcome.OPEN
        self.written = 0
        """Bytes that were given to a local connection."""
        self.missing = 0
        """Bytes that the app received and this session could not give to anyone."""
        self._on_gap = on_gap
        self._state = _State.SEEKING if opened.late else _State.SILENT
        self._seeker = BoundarySeeker(turn=opened.late)
        self._beginning = b""
        self._turn = False
        self._blemish: Outcome | None = None
        """What keeps this connection from being whole, whatever its end."""

    @property
    def skipped(self) -> int:
        """Bytes before the request at which it was joined or rejoined."""
        return self._seeker.skipped

    def receive_frame(self, frame: ConnectionFrame) -> list[Step]:
        """Take the connection's next frame, and give what to do."""
        match frame:
            case Data(direction=Direction.TO_RESPONDER):
                return self._receive_data(frame.payload)
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
        return []

    def abandon(self) -> None:
        """The session is over before the connection is."""
        if self.outcome is Outcome.OPEN:
            self.outcome = self._blemish or Outcome.UNFINISHED

    def _receive_data(self, payload: bytes) -> list[Step]:
        match self._state:
            case _State.FLOWING:
                return [self._write(payload)]
            case _State.SEEKING:
                return self._seek(payload)
            case _State.SILENT:
                self._beginning += payload
                tls = looks_like_tls(self._beginning)
                if tls:
                    return self._give_up(Outcome.TLS, Pass(len(self._beginning)))
                return [] if tls is None else self._begin()
        return [Pass(len(payload))]

    def _receive_response(self, size: int) -> list[Step]:
        passed: list[Step] = [Pass(size)] if size else []
        self._turn = True
        match self._state:
            case _State.SILENT if not self._beginning:
                return [*passed, *self._give_up(Outcome.SERVER_FIRST)]
            case _State.SEEKING:
                skipped = self._seeker.skipped
                self._seeker.receive_turn()
                passed += self._pass_skipped(skipped)
        return passed

    def _receive_gap(self, length: int) -> list[Step]:
        self.missing += length
        self._blemish = Outcome.GAP
        before = self._state
        if before is _State.OVER:
            return []
        skipped = self._seeker.skipped
        self._seeker.receive_gap()
        steps = self._pass_skipped(skipped)
        if self._beginning:
            steps += self._begin()
        seeks = self._on_gap == "rejoin" or before is _State.SEEKING  # no local connection was spoilt
        self._state = _State.SEEKING if seeks else _State.OVER
        if before is _State.FLOWING or any(isinstance(step, Begin) for step in steps):
            steps.append(Reset())
        return steps

    def _receive_end(self) -> list[Step]:
        steps: list[Step] = self._begin() if self._state is _State.SILENT else []
        if self._state is _State.FLOWING:
            steps.append(HalfClose())
        return steps

    def _receive_close(self, closed: Closed) -> list[Step]:
        steps: list[Step] = self._begin() if self._state is _State.SILENT else []
        end = _ENDS.get(closed.reason, Outcome.UNFINISHED)
        self.missing += closed.unsent
        if self._state is _State.SEEKING:
            self._seeker.receive_gap()
        if self.outcome is Outcome.OPEN:
            self.outcome = self._blemish or end
            if (
                self.outcome is not Outcome.CUT
                and self.opened.late
                and not self.written
                and self._blemish is None
            ):
                self.outcome = Outcome.UNJOINED
            if self.outcome in (Outcome.WHOLE, Outcome.RESET) and self.opened.late:
                self.outcome = Outcome.JOINED
        if self._state is _State.FLOWING:
            steps.append(Finish() if end is Outcome.WHOLE else Reset())
        self._state = _State.OVER
        return steps

    def _begin(self) -> list[Step]:
        self._state = _State.FLOWING
        beginning, self._beginning = self._beginning, b""
        return [Begin(), self._write(beginning)] if beginning else [Begin()]

    def _write(self, payload: bytes) -> Write:
        self.written += len(payload)
        turn, self._turn = self._turn, False
        return Write(payload, begins_turn=turn)

    def _seek(self, payload: bytes) -> list[Step]:
        skipped = self._seeker.skipped
        found = self._seeker.receive_data(payload)
        steps = self._pass_skipped(skipped)
        if found is not None:
            self._state = _State.FLOWING
            steps += [Begin(), self._write(found)]
        return steps

    def _pass_skipped(self, before: int) -> list[Step]:
        skipped = self._seeker.skipped - before
        return [Pass(skipped)] if skipped else []

    def _give_up(self, outcome: Outcome, *steps: Step) -> list[Step]:
        self.outcome = outcome
        self._state = _State.OVER
        return list(steps)
