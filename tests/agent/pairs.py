"""Two mirrors that see the same: one reads from a ring, one takes each packet by itself."""

import dataclasses
import ipaddress
from collections import defaultdict

from podmirror_agent.budget import Budget
from podmirror_agent.mirror import Mirror
from podmirror_agent.packet import CapturedPacket, Way
from podmirror_agent.segment import Segment
from podmirror_wire.decoder import Decoder
from podmirror_wire.frames import AnyFrame, Data, Omitted, Options, Subscribe
from tests.agent import packets
from tests.agent.rings import Ring

CLIENT_V6, POD_V6 = "2001:db8::1", "2001:db8::2"
POD_ADDRESSES = {ipaddress.ip_address(each).packed for each in (packets.POD, POD_V6)}


class Pair:
    """A mirror that reads from a ring, and one that takes each packet by itself."""

    def __init__(self, responder: str = "bytes", budget: int = 1 << 30) -> None:
        self.ring = Ring()
        self.budgets = [Budget(budget), Budget(budget)]
        self.mirrors = [Mirror(each) for each in self.budgets]
        self.sessions = [mirror.add_session() for mirror in self.mirrors]
        self.decoders = [Decoder(), Decoder()]
        self.received: list[list[AnyFrame]] = [[], []]
        self.now = 0.0
        """For tests in which time passes."""
        for mirror, session in zip(self.mirrors, self.sessions, strict=True):
            mirror.receive_frame(session, Options({"responder": responder, "window": "10000000"}), 0)
            mirror.receive_frame(session, Subscribe(1, 80), 0)

    def see(self, *seen: CapturedPacket, now: float = 0.0) -> None:
        self.ring.give(self.mirrors[0], list(seen), now)
        self.sessions[0].outbox.keep()
        self.ring.overwrite()
        self.mirrors[1].receive_packets(seen, now)
        self.take()

    def wait(self, now: float) -> None:
        for mirror in self.mirrors:
            mirror.expire(now)
        self.take()

    def take(self) -> None:
        for which, session in enumerate(self.sessions):
            while output := session.outbox.take_output():
                self.received[which] += self.decoders[which].receive_data(b"".join(output))

    @property
    def told(self) -> list[dict[int, list[AnyFrame]]]:
        return [by_connection(frames) for frames in self.received]


def by_connection(frames: list[AnyFrame]) -> dict[int, list[AnyFrame]]:
    """Give the frames of each connection, with those joined that belong together."""
    told: dict[int, list[AnyFrame]] = defaultdict(list)
    for frame in frames:
        number = getattr(frame, "connection", 0)
        last = told[number][-1] if told[number] else None
        if isinstance(frame, Data) and isinstance(last, Data) and frame.direction is last.direction:
            assert frame.offset == last.offset + len(last.payload)
            told[number][-1] = dataclasses.replace(last, payload=last.payload + frame.payload)
        elif isinstance(frame, Omitted) and isinstance(last, Omitted) and frame.direction is last.direction:
            assert frame.offset == last.offset + last.length
            told[number][-1] = dataclasses.replace(last, length=last.length + frame.length)
        else:
            told[number].append(frame)
    return told


def passing(segment: Segment, interface: tuple[int, str] = packets.ETH0) -> CapturedPacket:
    way = Way.OUTGOING if segment.source in POD_ADDRESSES else Way.INCOMING
    return packets.captured(segment, way, interface=interface)
