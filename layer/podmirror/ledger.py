"""The loss ledger: what became of every connection, and where bytes were lost.

The agent counts what it saw and lost (kernel drops, gaps, cuts), the layer what it delivered and what the local process did not
take. Lost are connections of which bytes are missing that the app had received. A late join is no loss: what came before it
was never ours. Neither are connections that cannot be replayed at all (TLS, server-first); they are listed with the reason.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from podmirror.errors import UsageError
from podmirror.forwarding import Forwarding, Outcome

_COMPLETE = {Outcome.WHOLE, Outcome.RESET}
_LOST = {Outcome.GAP, Outcome.CUT}

_LISTED = {
    Outcome.TLS: "in TLS, which cannot be replayed",
    Outcome.SERVER_FIRST: "of a protocol in which the server speaks first, which cannot be replayed",
    Outcome.UNJOINED: "open before the session began, in which no HTTP/1 request was recognised",
    Outcome.HTTP2: "open before the session began, in HTTP/2, which cannot be joined late",
    Outcome.SKIPPED: "open before the session began, which --late-joins skip leaves out",
}


@dataclass(slots=True)
class LayerLedger:
    """Counts what became of the connections that the agent announced."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    complete: int = 0
    """Connections delivered from their first byte to their end."""
    lost: int = 0
    """Connections with missing or undelivered bytes."""
    delivered_bytes: int = 0
    missing_bytes: int = 0
    """Not captured, or given up by the agent."""
    undelivered_bytes: int = 0
    """Arrived here, but the local process did not take them."""
    left_bytes: int = 0
    """Arrived here, and still waited for the local process when the session ended."""
    skipped_bytes: int = 0
    """Before the request at which a connection was joined late, or rejoined after a gap."""
    troubles: Counter[str] = field(default_factory=Counter)
    """What went wrong locally, by phrase."""
    agent: Mapping[str, int] = field(default_factory=dict)
    """The agent's own counts, as last heard."""
    cut_short: bool = False
    """The agent was lost, and with it what it had not sent yet."""

    def settle(
        self, forwarding: Forwarding, undelivered: int, trouble: str, *, local_ended: bool = False
    ) -> None:
        """Count a connection that ended.

        Args:
            forwarding: The connection.
            undelivered: Bytes that the local process did not take.
            trouble: Why not; empty if it, or the session, had ended before.
            local_ended: Whether the local process has ended, and so misses nothing that it would have taken.
        """
        outcome = forwarding.outcome
        if undelivered and not trouble:
            outcome = Outcome.UNFINISHED
        self.outcomes[outcome] += 1
        self.delivered_bytes += forwarding.written - undelivered
        self.missing_bytes += forwarding.missing
        self.skipped_bytes += forwarding.skipped
        if trouble:
            self.undelivered_bytes += undelivered
            self.troubles[trouble] += 1
        elif not local_ended:
            self.left_bytes += undelivered
        self.complete += outcome in _COMPLETE and not trouble
        self.lost += outcome in _LOST or bool(trouble)

    @property
    def connections(self) -> int:
        """All connections that ended."""
        return self.outcomes.total()

    @property
    def kernel_drops(self) -> int:
        """Packets that the agent's kernel dropped; what they carried shows as gaps or late joins, if it was missed."""
        return self.agent.get("kernel_drops", 0)

    @property
    def uncertain(self) -> bool:
        """Whether connections may have been missed that this ledger does not know of."""
        unannounced = self.agent.get("cut_connections", 0) > self.outcomes[Outcome.CUT]
        return bool(self.cut_short or self.kernel_drops or self.agent.get("untracked") or unannounced)

    def as_dict(self) -> dict[str, object]:
        """Give everything, for machines."""
        return {
            "connections": self.connections,
            "complete_connections": self.complete,
            "lost_connections": self.lost,
            "outcomes": {outcome.value: self.outcomes[outcome] for outcome in Outcome},
            "delivered_bytes": self.delivered_bytes,
            "missing_bytes": self.missing_bytes,
            "undelivered_bytes": self.undelivered_bytes,
            "left_bytes": self.left_bytes,
            "skipped_bytes": self.skipped_bytes,
            "cut_short": self.cut_short,
            "troubles": dict(self.troubles),
            "agent": dict(self.agent),
        }

    def lines(self) -> list[str]:
        """Give everything that is worth saying, a sentence a line."""
        lines = [
            f"{_count(self.connections, 'connection')} mirrored: {self.complete:,} complete, "
            f"{self.outcomes[Outcome.JOINED]:,} joined late, {self.lost:,} with loss; {self.delivered_bytes:,} bytes delivered."
        ]
        if self.missing_bytes:
            lines.append(f"{self.missing_bytes:,} bytes were missed by the capture or given up by the agent.")
        if self.undelivered_bytes:
            lines.append(f"{self.undelivered_bytes:,} bytes were not taken by the local process.")
        lines += [f"{_count(number, 'connection')}: {trouble}." for trouble, number in self.troubles.items()]
        lines += [
            f"{_count(self.outcomes[outcome], 'connection')} {why}: not delivered."
            for outcome, why in _LISTED.items()
            if self.outcomes[outcome]
        ]
        if self.outcomes[Outcome.UNFINISHED]:
            lines.append(f"{_count(self.outcomes[Outcome.UNFINISHED], 'connection')} had not ended.")
        if self.skipped_bytes:
            lines.append(f"{self.skipped_bytes:,} bytes were passed over on the way to a request to join at.")
        if self.kernel_drops:
            lines.append(f"The agent's kernel dropped {_count(self.kernel_drops, 'packet')}.")
        if self.agent.get("fragments"):
            lines.append(
                f"The agent does not reassemble IP fragments, and saw {self.agent['fragments']:,} of them."
            )
        if self.agent.get("untracked"):
            lines.append(
                f"The agent passed over {_count(self.agent['untracked'], 'packet')} of connections over its limit."
            )
        left = self.left_bytes + self.agent.get("waiting_bytes", 0)
        if left:
            lines.append(f"{left:,} bytes still waited for the local process when the session ended.")
        if self.cut_short:
            lines.append(
                "The agent was lost: what it had not sent by then, and all traffic since, is not counted here."
            )
        elif not (self.lost or self.missing_bytes or left or self.uncertain or self.agent.get("fragments")):
            lines.append("Nothing was lost.")
        return lines


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


@dataclass(frozen=True, slots=True)
class LossLimit:
    """The most that may be lost: `--max-loss 0`, `--max-loss 5` (connections) or `--max-loss 1%` (of them)."""

    limit: float
    percent: bool

    @classmethod
    def parse(cls, text: str) -> "LossLimit":
        """Read a limit as it stands on the command line.

        Raises:
            UsageError: It is neither a number nor a percentage.
        """
        number, percent = (text[:-1], True) if text.endswith("%") else (text, False)
        try:
            limit = float(number)
        except ValueError:
            limit = -1.0
        if not 0 <= limit < float("inf"):
            raise UsageError(
                f"--max-loss {text!r} is not understood; write a number of connections, or a percentage (1%)"
            )
        return cls(limit, percent)

    def exceeded_by(self, ledger: LayerLedger) -> bool:
        """Whether more connections were lost than this, or, for a limit of nothing, whether some may have been."""
        if not self.limit and ledger.uncertain:
            return True
        allowed = ledger.connections * self.limit / 100 if self.percent else self.limit
        return ledger.lost > allowed
