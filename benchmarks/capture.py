"""What all captures have in common: processes whose CPU time is read, a span that is measured, and what they saw."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from benchmarks.children import cpu_seconds, resident_bytes

PORT = 8080
"""Of the target; what is captured."""

INTERFACE = "eth0"

BUFFER_MEBIBYTES = 64
"""Of every capture's kernel buffer: the agent's default."""

IDLE_SHARE = 0.03
"""Of a core: a capture that uses less is done with what the load left it."""

LOOK_SECONDS = 0.1
IDLE_LOOKS = 3
"""In a row: on a virtual machine a core can be away for longer than one."""


@dataclass(frozen=True)
class Seen:
    """What a capture says of itself."""

    packets: int
    drops: int
    """Packets that the kernel dropped since the capture's buffer was full."""
    details: dict[str, float] = field(default_factory=dict)
    """Further counts; the agent's ledger among them."""


@dataclass
class Running:
    """A capture that is ready."""

    processes: list[int]
    stop: Callable[[], Seen]
    """Ends the capture."""
    settle_seconds: float = 0.4
    """At least so long after a load: what holds packets back must have handed them over."""
    settle_limit: float = 6.0
    """At most so long; a capture that is still behind by then is measured as it is."""
    cpu: float = 0.0
    """Seconds, of all processes, in the measured span."""
    own_cpu: float = 0.0
    """Seconds, of the first process alone: without the `cat` that empties its pipe."""
    memory: tuple[int, int] = (0, 0)
    """Bytes of all processes at the end of that span: packet rings aside, and packet rings."""

    @contextlib.contextmanager
    def measuring(self) -> Iterator[None]:
        """Measure the CPU time of the block, and of what the capture does right after it."""
        before = [cpu_seconds(pid) for pid in self.processes]
        yield
        self.settle()
        used = [cpu_seconds(pid) - earlier for pid, earlier in zip(self.processes, before, strict=True)]
        self.cpu, self.own_cpu = sum(used), sum(used[:1])
        sizes = [resident_bytes(pid) for pid in self.processes]
        self.memory = (sum(other for other, _ in sizes), sum(rings for _, rings in sizes))

    def settle(self) -> None:
        """Wait until the capture is done with what a load left it."""
        if not self.processes:
            return
        time.sleep(self.settle_seconds)
        until = time.monotonic() + self.settle_limit - self.settle_seconds
        idle = 0
        while idle < IDLE_LOOKS and time.monotonic() < until:
            before = self._cpu()
            time.sleep(LOOK_SECONDS)
            idle = idle + 1 if self._cpu() - before < IDLE_SHARE * LOOK_SECONDS else 0

    def _cpu(self) -> float:
        return sum(map(cpu_seconds, self.processes))
