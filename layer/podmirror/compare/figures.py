"""What was measured: of one agent's run, of each mode, and of the whole comparison. No I/O.

Times are seconds, sizes bytes. What could not be measured is `Unknown`, with the reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from podmirror.clockreading import ClockReading
from podmirror.compare.spread import Figure, Unknown
from podmirror.ledger import LayerLedger


class Mode(Enum):
    """A way of starting an agent."""

    EPHEMERAL = "ephemeral"
    BESIDE = "ephemeral, targetContainerName"
    """In the target container's PID namespace; podmirror does not do that otherwise."""
    JOB = "job"

    @property
    def short(self) -> str:
        """In a word, for plots."""
        return {Mode.EPHEMERAL: "ephemeral", Mode.BESIDE: "+ target", Mode.JOB: "job"}[self]

    @property
    def leaves_entry(self) -> bool:
        """Whether each run leaves an entry in the pod's spec."""
        return self is not Mode.JOB


PHASES = ("API call", "scheduled", "pulled", "started", "forwarded", "subscribed", "first byte")


@dataclass(frozen=True, slots=True)
class Window:
    """What the app answered to our own load for a while."""

    latencies: Sequence[float]
    """Of the requests that were answered."""
    errors: Mapping[str, int]
    sent_bytes: int
    began: float
    """Seconds since 1970."""
    seconds: float

    @property
    def requests(self) -> int:
        """All of them."""
        return len(self.latencies) + self.failed

    @property
    def failed(self) -> int:
        """Those without an answer, or with one of a server's error."""
        return sum(self.errors.values())


@dataclass(frozen=True, slots=True)
class Fidelity:
    """What arrived of what passed."""

    ledger: LayerLedger
    passed_requests: Figure
    """That our own load sent."""
    passed_bytes: Figure
    arrived_requests: Figure
    latencies: Sequence[float]
    """From a connection's first packet, on the pod's clock, to where `latency_to` says."""
    latency_to: str
    sent_to_delivered: Sequence[float]
    """From a request of our own to its copy's delivery, both on this machine's clock."""
    clock: ClockReading | Unknown
    """Of the quickest of several pings."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What the agent took while traffic was mirrored."""

    cpu: Figure
    """Seconds."""
    began: float
    """Of the first of two looks at it, seconds since 1970."""
    seconds: float
    """Between them."""
    seen_bytes: float
    packets: Figure
    memory: Figure
    memory_peak: Figure
    memory_anonymous: Figure
    """Without what files and the kernel's packet ring lend."""
    tunnel_in: int
    """Bytes of frames from the agent."""
    tunnel_out: int
    limits: Mapping[str, str]
    """Of the agent's container, as its control group says."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What was asked of the cluster for the agent, as the API server stored it."""

    added: tuple[str, ...]
    """Capabilities."""
    dropped: tuple[str, ...]
    host_namespaces: tuple[str, ...]
    privileged: bool
    level: str
    """Of Pod Security, that admits it."""
    held: str
    """Capabilities that the agent's container was given, and that the agent holds, as it reads them."""
    may_change_rules: bool | None
    """Whether the container was given NET_ADMIN; None if that is not known."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What the target felt."""

    windows: Mapping[str, Window | Unknown]
    """`before`, `starting`, `during`, `after`."""
    restarts: Figure
    """Of the target's containers, from before to after."""
    sockets: tuple[str, str] | Unknown
    """TCP sockets in the target's network, at the beginning and the end of the traffic that was measured."""
    tables: tuple[str, str] | Unknown
    """Firewall tables, likewise."""


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What remained after the session."""

    entries: tuple[int, int]
    """In the pod's spec: all of ours, and of these such as this agent left (1 or 0); -1 where the pod could not be read."""
    ended: Figure
    """Seconds from the goodbye until the container had ended, or its pod was gone."""
    gone: Figure
    """Seconds until the Job was gone; unknown if there was none."""


@dataclass(frozen=True, slots=True)
class Run:
    """One agent, from its injection to its end."""

    mode: Mode
    agent: str
    """Its name."""
    began: float
    """Seconds since 1970."""
    phases: Mapping[str, Figure]
    """Seconds by phase; a phase that this kind of agent does not have is not among them."""
    fidelity: Fidelity
    cost: Cost
    ask: Ask | None
    """None if the agent's pod was not seen."""
    namespaces: Mapping[str, str]
    """The agent's, by kind: an inode number, or `-` and why it is not known."""
    target_namespaces: Mapping[str, str]
    """The target's, as this agent saw them; empty if it could not."""
    effect: Effect
    leftovers: Leftovers

    @property
    def start(self) -> Figure:
        """Seconds from the API call until the subscription was confirmed."""
        known = [value for name, value in self.phases.items() if name != "first byte"]
        figures = [value for value in known if not isinstance(value, Unknown)]
        return sum(figures) if figures else Unknown("it did not start")


@dataclass(slots=True)
class Column:
    """All runs of a mode."""

    mode: Mode
    runs: list[Run] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    """Why runs of it did not come about; in the server's words."""
    failures: list[str] = field(default_factory=list)
    """Why runs of it came to nothing for reasons that may pass: the API server was away, an agent was lost."""
    verbs: tuple[str, ...] = ()
    """That the user needs, in the words of a Role."""


@dataclass(slots=True)
class Comparison:
    """Everything."""

    target: str
    pod: str
    container: str
    server: str
    version: str
    """Of the API server."""
    date: str
    ports: tuple[int, ...]
    rounds: int
    seconds: float
    load: str
    """What load was sent, in words; empty for none."""
    together: bool
    columns: list[Column] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
