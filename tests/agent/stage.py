"""A mirror on a stage: sessions that subscribe, packets that pass, and the frames that each session is given."""

from podmirror_agent.budget import Budget
from podmirror_agent.mirror import Mirror
from podmirror_agent.packet import CapturedPacket, Way
from podmirror_agent.segment import Segment
from podmirror_agent.session import Session
from podmirror_wire.decoder import Decoder
from podmirror_wire.frames import AnyFrame, Opened, Options, Subscribe
from podmirror_wire.values import Direction, Endpoint
from tests.agent import packets
from tests.agent.packets import CLIENT, POD

TO_RESPONDER, TO_INITIATOR = Direction.TO_RESPONDER, Direction.TO_INITIATOR
POD_TIME = 1_700_000_000_000_000_000


class Stage:
    """A mirror, its sessions, and packets that pass it."""

    def __init__(self, budget: int = 1 << 30) -> None:
        self.budget = Budget(budget)
        self.mirror = Mirror(self.budget)
        self.decoders: dict[int, Decoder] = {}
        self.now = 0.0

    def session(self, *ports: int, **settings: str) -> Session:
        session = self.mirror.add_session()
        if settings:
            self.tell(session, Options(settings))
        for request, port in enumerate(ports, 1):
            self.tell(session, Subscribe(request, port))
        self.frames(session)
        return session

    def tell(self, session: Session, *frames: AnyFrame) -> None:
        for frame in frames:
            self.mirror.receive_frame(session, frame, POD_TIME)

    def see(self, *segments: Segment) -> None:
        self.see_packets(
            *(
                packets.captured(
                    segment,
                    Way.OUTGOING if segment.source == bytes((10, 0, 0, 2)) else Way.INCOMING,
                    pod_time=POD_TIME,
                )
                for segment in segments
            )
        )

    def see_packets(self, *captured: CapturedPacket) -> None:
        self.mirror.receive_packets(captured, self.now)

    def frames(self, session: Session) -> list[AnyFrame]:
        decoder = self.decoders.setdefault(id(session), Decoder())
        frames: list[AnyFrame] = []
        while output := session.outbox.take_output():
            frames += decoder.receive_data(b"".join(output))
        return frames

    def counts(self, session: Session, drops: int = 0) -> dict[str, int]:
        return self.mirror.ledger(session, {"kernel_drops": drops}).counts


def opened(number: int = 1, *, late: bool = False, port: int = 80) -> Opened:
    return Opened(number, late, Endpoint(CLIENT, 40000), Endpoint(POD, port), POD_TIME, "eth0")
