"""`--metrics`: the ledger in the Prometheus text format, for as long as a session runs.

It is served from the event loop that does everything else, so that a scrape sees counts that belong together.
"""

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from aiohttp import web
from prometheus_client.aiohttp import make_aiohttp_handler
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from podmirror.errors import NotStarted
from podmirror.forwarding import Outcome
from podmirror.ledger import LayerLedger
from podmirror.listenaddress import ListenAddress
from podmirror_wire.version import __version__

CLOSE_SECONDS = 0.2
"""For a scrape that is under way when the session ends."""


@dataclass(frozen=True, slots=True)
class Stock:
    """What there is to tell at one time."""

    settled: LayerLedger
    """Of connections that ended."""
    live: LayerLedger
    """The same with the open connections as they stand."""
    open_connections: int
    connected: bool
    """Whether an agent is heard of."""


_NANOSECONDS = 10**9

_AGENT_COUNTERS = {
    "connections": ("connections", "Connections that the agent announced.", 1),
    "late_joins": ("late_joins", "Announced connections whose beginning was not seen.", 1),
    "bytes_seen": ("seen_bytes", "Payload bytes that the agent saw in order, towards the pod's ports.", 1),
    "gaps": ("gaps", "Gaps: runs of bytes that the app received and the capture has not seen.", 1),
    "gap_bytes": ("gap_bytes", "Bytes in those gaps.", 1),
    "cut_connections": (
        "cut_connections",
        "Connections that the agent gave up because a byte budget was full.",
        1,
    ),
    "cut_bytes": ("cut_bytes", "Bytes that waited for those.", 1),
    "shed_connections": ("shed_connections", "Connections that the agent shed to keep to its CPU budget.", 1),
    "shed_bytes": ("shed_bytes", "Payload bytes of those that have ended.", 1),
    "kernel_drops": ("kernel_dropped_packets", "Packets that found the capture's ring full.", 1),
    "packets": ("packets", "Packets that passed the kernel's filter.", 1),
    "fragments": ("fragments", "IP fragments that were seen.", 1),
    "fragments_lost": ("lost_fragments", "IP fragments that could not be put together.", 1),
    "malformed": ("malformed_packets", "Packets that could not be decoded.", 1),
    "untracked": ("untracked_segments", "Segments of connections over the agent's limit.", 1),
    "cpu_ns": ("cpu_seconds", "CPU time that the agent used.", _NANOSECONDS),
}
_AGENT_GAUGES = {
    "waiting_bytes": ("waiting_bytes", "Payload bytes that wait at the agent.", 1),
    "buffer_bytes": ("buffer_bytes", "Bytes that are taken of the agent's memory budget.", 1),
    "first_drop_time": (
        "first_drop_timestamp_seconds",
        "The pod's clock when the kernel first dropped a packet; 0 for never.",
        _NANOSECONDS,
    ),
    "last_drop_time": (
        "last_drop_timestamp_seconds",
        "The pod's clock when the kernel last dropped a packet; 0 for never.",
        _NANOSECONDS,
    ),
}
"""The agent's count, the name of its metric without the prefix, what it means, and the count of one of its units."""


class LedgerCollector(Collector):
    """Makes metrics of the ledger at each scrape."""

    def __init__(self, take_stock: Callable[[], Stock]) -> None:
        self._take_stock = take_stock
        self._delivered = 0
        self._lost = 0

    def describe(self) -> list[Metric]:
        """Nothing: the registry need not scrape to know that no name is taken twice."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Give all metrics."""
        stock = self._take_stock()
        # A counter never falls, though a local process may turn out not to have taken what was written to it last.
        self._delivered = max(self._delivered, stock.live.delivered_bytes)
        self._lost = max(self._lost, stock.live.lost)
        yield InfoMetricFamily("podmirror_build", "The release.", value={"version": __version__})
        yield GaugeMetricFamily(
            "podmirror_agent_connected",
            "Whether there is a tunnel to an agent: 1 or 0.",
            value=int(stock.connected),
        )
        ended = CounterMetricFamily(
            "podmirror_connections",
            "Mirrored connections that ended, by what became of them.",
            labels=["outcome"],
        )
        for outcome in Outcome:
            if outcome is not Outcome.OPEN:
                ended.add_metric([outcome.value], stock.settled.outcomes[outcome])
        yield ended
        yield GaugeMetricFamily(
            "podmirror_open_connections",
            "Mirrored connections whose local side has not ended.",
            value=stock.open_connections,
        )
        yield CounterMetricFamily(
            "podmirror_lost_connections", "Connections of which bytes were lost.", value=self._lost
        )
        yield CounterMetricFamily(
            "podmirror_delivered_bytes", "Bytes that were given to the local process.", value=self._delivered
        )
        not_delivered = GaugeMetricFamily(
            "podmirror_not_delivered_bytes",
            "Bytes that were not given to the local process, by reason; those that wait may still be.",
            labels=["reason"],
        )
        for fate, size in stock.live.not_delivered().items():
            not_delivered.add_metric([fate.value], size)
        yield not_delivered
        yield from _of_the_agent(stock.live)


def _of_the_agent(ledger: LayerLedger) -> Iterator[Metric]:
    for count, (name, meaning, divisor) in _AGENT_COUNTERS.items():
        yield CounterMetricFamily(
            f"podmirror_agent_{name}", meaning, value=ledger.agent.get(count, 0) / divisor
        )
    for count, (name, meaning, divisor) in _AGENT_GAUGES.items():
        yield GaugeMetricFamily(
            f"podmirror_agent_{name}", meaning, value=ledger.agent.get(count, 0) / divisor
        )


class MetricsServer:
    """Serves /metrics."""

    def __init__(self, runner: web.AppRunner, address: ListenAddress) -> None:
        self._runner = runner
        self.address = address
        """Where, with the port that was found free if none was named."""

    @classmethod
    async def start(cls, address: ListenAddress, take_stock: Callable[[], Stock]) -> "MetricsServer":
        """Listen.

        Raises:
            NotStarted: That is not possible there.
        """
        registry = CollectorRegistry()
        registry.register(LedgerCollector(take_stock))
        application = web.Application()
        application.router.add_get("/metrics", make_aiohttp_handler(registry))
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=CLOSE_SECONDS)
        await runner.setup()
        site = web.TCPSite(runner, address.host, address.port)
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            if isinstance(error, socket.gaierror):
                reason = error.strerror
            else:  # asyncio puts a sentence of its own in place of the system's
                reason = os.strerror(error.errno) if error.errno else str(error)
            raise NotStarted(
                f"the metrics cannot be served at {address}: {reason}; name another address"
            ) from error
        host, port = runner.addresses[0][:2]
        return cls(runner, ListenAddress(host, port))

    async def close(self) -> None:
        """Stop."""
        await self._runner.cleanup()
