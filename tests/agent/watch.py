"""Connections under watch: what a test puts on the wire, and the events that are told of it."""

from podmirror_agent.budget import Budget
from podmirror_agent.connections import ConnectionEvent, Connections
from podmirror_agent.packet import Way
from podmirror_agent.segment import Segment
from podmirror_wire.frames import Closed, Opened
from podmirror_wire.values import CloseReason, Direction, Endpoint
from tests.agent.packets import CLIENT, ETH0, POD

TO_RESPONDER, TO_INITIATOR = Direction.TO_RESPONDER, Direction.TO_INITIATOR
POD_TIME = 1_700_000_000_000_000_000


class Watch:
    """Connections seen on the pod's interface: what comes from the pod is outgoing, all else incoming."""

    def __init__(self, *ports: int, **limits: float) -> None:
        self.budget = Budget(1 << 30)
        self.connections = Connections(self.budget, **limits)
        self.connections.subscribe(frozenset(ports or {80}))
        self.now = 0.0

    def see(self, *segments: Segment, way: Way | None = None, interface=ETH0) -> list[ConnectionEvent]:
        events: list[ConnectionEvent] = []
        for segment in segments:
            taken = way or (Way.OUTGOING if segment.source == bytes((10, 0, 0, 2)) else Way.INCOMING)
            events += self.connections.receive_segment(segment, taken, interface, POD_TIME, self.now)
        return events

    def wait(self, seconds: float) -> list[ConnectionEvent]:
        self.now += seconds
        return self.connections.expire(self.now)

    @property
    def buffered(self) -> int:
        """Bytes that are held of the budget, but for what the connections themselves take."""
        return self.budget.held - self.connections.table.held

    @property
    def tracked(self) -> int:
        return len(self.connections)


def opened(number: int = 1, *, late: bool = False, interface: str = "eth0", port: int = 40000) -> Opened:
    return Opened(number, late, Endpoint(CLIENT, port), Endpoint(POD, 80), POD_TIME, interface)


def finished(number: int = 1) -> Closed:
    return Closed(number, CloseReason.FINISHED, 0)
