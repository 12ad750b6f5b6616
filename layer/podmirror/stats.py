"""What `--stats` shows: rates and totals, told from samples of the ledger.

Rates are differences between two samples. The agent tells its counts once a second at most, and only when there is news, so its
CPU use is told from its own last two reports; an agent that has said nothing for a while has nothing to do.
"""

from dataclasses import dataclass

from podmirror.ledger import Fate, LayerLedger

QUIET_SECONDS = 3.0
"""Without a report, after which the agent is called quiet: three reports of a busy one."""

_KILO = 1000


@dataclass(frozen=True, slots=True)
class Sample:
    """The ledger at one time."""

    now: float
    """Monotonic seconds."""
    ledger: LayerLedger
    """Open connections included."""
    open_connections: int
    agent_cpu: float | None
    """Cores that the agent used of late; None if it has been quiet."""


class AgentLoad:
    """Tells the agent's CPU use from its reports."""

    def __init__(self) -> None:
        self._reported: float | None = None
        self._cpu_ns = 0
        self._cores: float | None = None

    def receive_report(self, now: float, cpu_ns: int) -> None:
        """Take the agent's CPU time from a report that came at `now`."""
        if self._reported is not None and now > self._reported:
            self._cores = max(0, cpu_ns - self._cpu_ns) / 1e9 / (now - self._reported)
        self._reported, self._cpu_ns = now, cpu_ns

    def cores(self, now: float) -> float | None:
        """Give the cores in use; None while nothing is known, or the agent is quiet."""
        if self._reported is None or now - self._reported > QUIET_SECONDS:
            return None
        return self._cores


def figures(before: Sample, after: Sample) -> list[tuple[str, str]]:
    """Give what there is to say about the time between two samples, and in all: pairs of a name and a text."""
    seconds = max(after.now - before.now, 1e-9)
    old, new = before.ledger, after.ledger
    connections = _seen(after) - _seen(before)
    delivered = max(
        0, new.delivered_bytes - old.delivered_bytes
    )  # a local process may not have taken it after all
    rates = f"{max(0, connections) / seconds:,.1f} connections/s, {amount(delivered / seconds)}/s"
    totals = f"{_seen(after):,} connections ({after.open_connections:,} open), {amount(new.delivered_bytes)}"
    lost = f"{new.lost:,} connections, {amount(new.lost_bytes)}"
    drops = new.agent.get("kernel_drops", 0)
    if drops:
        lost += f", {drops:,} packets dropped by the kernel"
    cpu = "quiet" if after.agent_cpu is None else f"{after.agent_cpu * 100:.1f} % CPU"
    waiting = new.not_delivered()[Fate.WAITING]
    return [
        ("now", rates),
        ("delivered", totals),
        ("lost", lost),
        ("agent", f"{cpu}, {amount(waiting)} waiting"),
    ]


def line(before: Sample, after: Sample) -> str:
    """Give the same as one line."""
    return "; ".join(f"{name}: {text}" for name, text in figures(before, after))


def amount(size: float) -> str:
    """Give bytes in the unit that fits."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < _KILO:
            return f"{size:,.0f} B" if unit == "B" else f"{size:,.1f} {unit}"
        size /= _KILO
    return f"{size:,.1f} TB"


def _seen(sample: Sample) -> int:
    return sample.ledger.connections
