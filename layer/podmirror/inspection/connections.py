"""`-o connections`: a JSON line for each connection when it ends, with hashes and sizes of what was said, never content."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar

from podmirror.inspection.ending import Ending
from podmirror.inspection.sink import Sink
from podmirror_wire.frames import Closed, ConnectionFrame, Digest, Gap, Opened
from podmirror_wire.values import CloseReason, Direction

_ENDS = {
    CloseReason.FINISHED: "fin",
    CloseReason.END_MISSED: "fin",
    CloseReason.RESET_BY_INITIATOR: "rst",
    CloseReason.RESET_BY_RESPONDER: "rst",
    CloseReason.IDLE: "idle",
    CloseReason.REPLACED: "idle",
}
"""How a connection ended; by everything else, the capture ended before it did."""

_SPOILT = {CloseReason.CUT, CloseReason.SHED}
"""The agent gave up the rest of the connection, so that its bytes are not all there."""

_SENDER = {Direction.TO_RESPONDER: "initiator", Direction.TO_INITIATOR: "responder"}


@dataclass(slots=True)
class _Connection:
    """One that is open."""

    opened: Opened
    digests: dict[Direction, Digest] = field(default_factory=dict)
    gaps: list[dict[str, str | int]] = field(default_factory=list)

    def receive_gap(self, gap: Gap) -> None:
        """Take a gap, which may be the rest of the one before."""
        sender = _SENDER[gap.direction]
        for last in reversed(self.gaps):
            if last["from"] == sender:
                if int(last["at"]) + int(last["bytes"]) == gap.offset:
                    last["bytes"] = int(last["bytes"]) + gap.length
                    return
                break
        self.gaps.append({"from": sender, "at": gap.offset, "bytes": gap.length})

    def state(self, reason: CloseReason) -> str:
        """Say whether everything was seen."""
        if self.gaps or reason in _SPOILT:
            return "gap"
        return "joined_late" if self.opened.late else "complete"


class ConnectionLines:
    """Writes the lines."""

    settings: ClassVar[Mapping[str, str]] = {"initiator": "lengths", "responder": "lengths", "digests": "yes"}
    """What it asks of the agents (docs/protocol.md, Options)."""

    def __init__(
        self, output: Sink, ending: Ending | None = None, on_enough: Callable[[], None] = lambda: None
    ) -> None:
        """Begin.

        Args:
            output: Where to.
            ending: Knows how many are wanted; None for all.
            on_enough: Called when so many were written.
        """
        self._output = output
        self._ending = ending or Ending()
        self._on_enough = on_enough
        self._open: dict[tuple[str, int], _Connection] = {}

    def receive_frame(self, pod: str, frame: ConnectionFrame) -> None:
        """Take the next frame of a connection of a pod."""
        key = (pod, frame.connection)
        if isinstance(frame, Opened):
            self._open[key] = _Connection(frame)
            return
        connection = self._open.get(key)
        if connection is None:
            return
        if isinstance(frame, Gap):
            connection.receive_gap(frame)
        elif isinstance(frame, Digest):
            connection.digests[frame.direction] = frame
        elif isinstance(frame, Closed):
            del self._open[key]
            self._write(pod, connection, frame.reason)

    def finish(self) -> None:
        """Write nothing: what is still open was not seen to its end, and the agent closes what it can."""

    def _write(self, pod: str, connection: _Connection, reason: CloseReason) -> None:
        if not self._ending.take(1):
            return
        opened = connection.opened
        sums = {_SENDER[direction]: connection.digests.get(direction) for direction in Direction}
        line: dict[str, object] = {
            "connection": opened.connection,
            "initiator": str(opened.initiator),
            "responder": str(opened.responder),
            "state": connection.state(reason),
            "ended": _ENDS.get(reason, "eof"),
            **{f"{sender}_bytes": told.length if told else None for sender, told in sums.items()},
            **{f"{sender}_sha256": told.sha256.hex() if told else None for sender, told in sums.items()},
            "gaps": connection.gaps,
            "opened": datetime.fromtimestamp(opened.pod_time / 1e9, UTC).isoformat(),
        }
        if pod:
            line["pod"] = pod
        self._output.write(json.dumps(line) + "\n")
        self._output.flush()
        if self._ending.reached:
            self._on_enough()
