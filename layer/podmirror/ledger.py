"""The loss ledger: what became of every connection and of every byte.

The agent counts what it saw and lost (kernel drops, gaps, cuts, what it shed), the layer what it delivered and why it did not.
Lost are connections of which bytes are missing that the app had received, those that the agent gave up included. A late join is
no loss: what came before it was never ours. Neither are connections that cannot be replayed at all (TLS, server-first); they
are listed with the reason.

Each byte that the agent told of is counted once, as delivered or under one `Fate`. What the agent never told of, since it shed
a connection, gave it up unannounced or saw more of it after that, is added from the agent's own counts.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from podmirror.forwarding import Forwarding, Outcome
from podmirror_wire.values import CloseReason

_COMPLETE = {Outcome.WHOLE, Outcome.RESET}
_LOST = {Outcome.GAP, Outcome.CUT, Outcome.SHED}


class Fate(Enum):
    """Why a byte was not delivered. The first group is loss."""

    MISSED = "missed"
    """In a gap: the app received it, and the capture has not seen it."""
    CUT = "cut"
    """Given up by the agent, because a byte budget was full."""
    SHED = "shed"
    """Of a connection that the agent shed, because its CPU budget was used up."""
    LOCAL_FAILURE = "local_failure"
    """Not taken by the local process, which runs on."""
    BEHIND_GAP = "behind_gap"
    """Seen, behind a gap, in a connection that was not rejoined."""

    GIVEN_UP = "given_up"
    """Waited at the agent when it closed the connection for another reason: it ended, or the subscription did."""
    LEFT_OUT = "left_out"
    """Left out by the agent: of an exchange that was not selected, or not to be redacted safely."""
    BEFORE_JOIN = "before_join"
    """Before the request at which a connection was or would have been joined late, or rejoined after a gap."""
    TLS = "tls"
    SERVER_FIRST = "server_first"
    HTTP2 = "http2"
    LATE = "late"
    """Of a late join, which were not asked for."""
    UNFINISHED = "unfinished"
    """Too few to tell what they begin, when the session ended."""
    WAITING = "waiting"
    """Waited for the local process when the session ended."""
    LOCAL_ENDED = "local_ended"
    """Came for a local process that had ended."""


LOSSES = frozenset({Fate.MISSED, Fate.CUT, Fate.SHED, Fate.LOCAL_FAILURE, Fate.BEHIND_GAP})

_FATE_OF_UNSENT = {CloseReason.CUT: Fate.CUT, CloseReason.SHED: Fate.SHED}

_FATE_OF_PASSED_OVER = {
    Outcome.TLS: Fate.TLS,
    Outcome.SERVER_FIRST: Fate.SERVER_FIRST,
    Outcome.HTTP2: Fate.HTTP2,
    Outcome.SKIPPED: Fate.LATE,
    Outcome.UNFINISHED: Fate.UNFINISHED,
    Outcome.FILTERED: Fate.LEFT_OUT,
}
"""The rest is behind a gap: a connection that was not given up passes nothing over before one."""

_UNCERTAIN = ("kernel_drops", "untracked", "fragments_lost")
"""The agent's counts of what may have belonged to a connection that it never got to know."""


_FIRST = "first_drop_time"
_LAST = "last_drop_time"


@dataclass(frozen=True, slots=True)
class Move:
    """A change of the pods that a session mirrors."""

    origin: str
    """The pod that it left; empty if there is none for which another came."""
    successor: str
    """The pod that it went to; empty if there is none."""
    seconds: float
    """Between the time from which that pod's traffic was wanted and the time from which it was mirrored."""


@dataclass(slots=True)
class LayerLedger:
    """Counts what became of the connections that the agent announced, and of their bytes."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    complete: int = 0
    """Connections delivered from their first byte to their end."""
    lost_announced: int = 0
    """Connections with missing or undelivered bytes, of those that the agent announced."""
    delivered_bytes: int = 0
    fates: Counter[Fate] = field(default_factory=Counter)
    """Bytes that the agent told of and that were not delivered."""
    closed: Counter[CloseReason] = field(default_factory=Counter)
    """Connections by how the agent said that they ended."""
    troubles: Counter[str] = field(default_factory=Counter)
    """What went wrong locally, by phrase."""
    agent: Mapping[str, int] = field(default_factory=dict)
    """The agent's own counts, as last heard."""
    cut_short: bool = False
    """The agent was lost, and with it what it had not sent yet."""
    moves: tuple[Move, ...] = ()
    """Changes of the pods that were mirrored; what they received around them is not known."""
    restarts: int = 0
    """How often a lost tunnel was opened again too late, and what the agent had kept for it was given up."""

    @classmethod
    def merged(cls, parts: Iterable["LayerLedger"]) -> "LayerLedger":
        """Add the ledgers of several agents."""
        parts = list(parts)
        if len(parts) == 1:
            return parts[0].copy()
        merged = cls()
        for part in parts:
            merged.outcomes.update(part.outcomes)
            merged.complete += part.complete
            merged.lost_announced += part.lost_announced
            merged.delivered_bytes += part.delivered_bytes
            merged.fates.update(part.fates)
            merged.closed.update(part.closed)
            merged.troubles.update(part.troubles)
            merged.cut_short |= part.cut_short
            merged.moves += part.moves
            merged.restarts += part.restarts
        merged.agent = _merged_counts([part.known_counts() for part in parts])
        return merged

    def settle(
        self, forwarding: Forwarding, undelivered: int, trouble: str, *, local_ended: bool = False
    ) -> None:
        """Count a connection that ended, or, in a copy of the ledger, one as it stands.

        Args:
            forwarding: The connection.
            undelivered: Bytes that were to be written and that the local process did not take.
            trouble: Why not; empty if it, or the session, had ended before.
            local_ended: Whether the local process has ended, and so misses nothing that it would have taken.
        """
        outcome = forwarding.outcome
        if undelivered and not trouble and outcome not in _LOST and outcome is not Outcome.OPEN:
            outcome = Outcome.UNFINISHED
        self.outcomes[outcome] += 1
        self.complete += outcome in _COMPLETE and not trouble
        self.lost_announced += outcome in _LOST or bool(trouble)
        if forwarding.closed_as is not None:
            self.closed[forwarding.closed_as] += 1
            self.fates[_FATE_OF_UNSENT.get(forwarding.closed_as, Fate.GIVEN_UP)] += forwarding.unsent
        self.delivered_bytes += forwarding.written - undelivered
        self.fates[Fate.MISSED] += forwarding.missing - forwarding.unsent
        self.fates[Fate.BEFORE_JOIN] += forwarding.skipped
        self.fates[Fate.LEFT_OUT] += forwarding.left_out
        self.fates[_FATE_OF_PASSED_OVER.get(forwarding.outcome, Fate.BEHIND_GAP)] += forwarding.passed_over
        self.fates[Fate.LOCAL_FAILURE if trouble else Fate.LOCAL_ENDED if local_ended else Fate.WAITING] += (
            undelivered
        )
        if trouble:
            self.troubles[trouble] += 1

    def copy(self) -> "LayerLedger":
        """Give the counts as they are now."""
        return LayerLedger(
            outcomes=self.outcomes.copy(),
            complete=self.complete,
            lost_announced=self.lost_announced,
            delivered_bytes=self.delivered_bytes,
            fates=self.fates.copy(),
            closed=self.closed.copy(),
            troubles=self.troubles.copy(),
            agent=self.agent,
            cut_short=self.cut_short,
            moves=self.moves,
            restarts=self.restarts,
        )

    def known_counts(self) -> dict[str, int]:
        """Give the agent's counts, raised to what the layer knows of the same, which may be younger.

        So they can be added to those of other agents: what one agent told of late must not hide what another never told of.
        """
        known = {
            "cut_connections": self.closed[CloseReason.CUT],
            "shed_connections": self.closed[CloseReason.SHED],
            "cut_bytes": self.fates[Fate.CUT],
            "gap_bytes": self.fates[Fate.MISSED],
        }
        return {
            **self.agent,
            **{name: max(number, self._agent_count(name)) for name, number in known.items()},
        }

    @property
    def unannounced(self) -> dict[Outcome, int]:
        """Connections that the agent gave up without a frame of theirs, by what it calls that."""
        return {
            Outcome.CUT: max(0, self._agent_count("cut_connections") - self.closed[CloseReason.CUT]),
            Outcome.SHED: max(0, self._agent_count("shed_connections") - self.closed[CloseReason.SHED]),
        }

    @property
    def connections(self) -> int:
        """All connections, those included that the agent did not announce."""
        return self.outcomes.total() + sum(self.unannounced.values())

    @property
    def lost(self) -> int:
        """Connections with missing or undelivered bytes, those included that the agent did not announce."""
        return self.lost_announced + sum(self.unannounced.values())

    def not_delivered(self) -> dict[Fate, int]:
        """Give the bytes that were not delivered, those included that the agent did not tell of."""
        told = {fate: self.fates[fate] for fate in Fate}
        told[Fate.CUT] = max(told[Fate.CUT], self._agent_count("cut_bytes"))
        told[Fate.MISSED] = max(told[Fate.MISSED], self._agent_count("gap_bytes"))
        told[Fate.SHED] += self._agent_count("shed_bytes")
        told[Fate.WAITING] += self._agent_count("waiting_bytes")
        return told

    @property
    def missing_bytes(self) -> int:
        """Bytes of announced connections that were not captured, or that the agent gave up."""
        return sum(self.fates[fate] for fate in (Fate.MISSED, Fate.CUT, Fate.SHED, Fate.GIVEN_UP))

    @property
    def undelivered_bytes(self) -> int:
        """Bytes that the local process did not take, while it ran."""
        return self.fates[Fate.LOCAL_FAILURE]

    @property
    def left_bytes(self) -> int:
        """Bytes that arrived here, and still waited for the local process when the session ended."""
        return self.fates[Fate.WAITING]

    @property
    def skipped_bytes(self) -> int:
        """Bytes before the request at which a connection was joined late, or rejoined after a gap."""
        return self.fates[Fate.BEFORE_JOIN]

    @property
    def lost_bytes(self) -> int:
        """Bytes that the app received and the local process should have."""
        return sum(size for fate, size in self.not_delivered().items() if fate in LOSSES)

    @property
    def uncertain(self) -> bool:
        """Whether bytes or connections may have been missed that this ledger does not know of."""
        doubtful = self.cut_short or self.moves or self.restarts
        return bool(doubtful or any(map(self._agent_count, _UNCERTAIN)))

    @property
    def nothing_lost(self) -> bool:
        """Whether every connection that was to be delivered was, as far as it went."""
        waiting = self.not_delivered()[Fate.WAITING] + self.fates[Fate.GIVEN_UP]
        return not (self.lost or self.lost_bytes or waiting or self.uncertain)

    def as_dict(self) -> dict[str, object]:
        """Give everything, for machines."""
        return {
            "connections": self.connections,
            "complete_connections": self.complete,
            "lost_connections": self.lost,
            "outcomes": {
                outcome.value: self.outcomes[outcome] + self.unannounced.get(outcome, 0)
                for outcome in Outcome
            },
            "delivered_bytes": self.delivered_bytes,
            "missing_bytes": self.missing_bytes,
            "undelivered_bytes": self.undelivered_bytes,
            "left_bytes": self.left_bytes,
            "skipped_bytes": self.skipped_bytes,
            "lost_bytes": self.lost_bytes,
            "not_delivered_bytes": {fate.value: size for fate, size in self.not_delivered().items()},
            "cut_short": self.cut_short,
            "moves": [
                {"from": move.origin or None, "to": move.successor or None, "seconds": round(move.seconds, 3)}
                for move in self.moves
            ],
            "restarts": self.restarts,
            "troubles": dict(self.troubles),
            "agent": dict(self.agent),
        }

    def _agent_count(self, name: str) -> int:
        return self.agent.get(name, 0)


def _merged_counts(counts: list[dict[str, int]]) -> dict[str, int]:
    merged = Counter[str]()
    for each in counts:
        merged.update(each)
    for name, choose in ((_FIRST, min), (_LAST, max)):
        times = [each[name] for each in counts if each.get(name)]
        if times:
            merged[name] = choose(times)
    return dict(merged)
