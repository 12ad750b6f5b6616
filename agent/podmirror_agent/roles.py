"""Which end of a connection is the responder, so that a segment is known to belong to a subscription, and which way it goes.

Theory of operation. A subscription names a port of the pod. Which end is the responder follows from the way the packet took,
not from its addresses: a packet that came in towards the port, or went out from it. The pod's own calls to the same port
elsewhere take the opposite way and are not ours. On loopback, and in a capture file, both ways look alike, and there the port
alone decides, and the handshake where both ports are subscribed.

Where every connection is wanted, the handshake decides. Of a connection whose beginning was not seen nothing is certain: the
lower port is taken for the service's, since clients get theirs from the upper range (RFC 6335, 6).

What goes from an end to itself has no responder: a socket that was connected to its own port, or a forged packet, which the
pod's kernel drops and a capture sees nevertheless.
"""

from podmirror_agent.packet import Way
from podmirror_agent.segment import ACK, SYN, Segment
from podmirror_agent.table import ConnectionTable
from podmirror_wire.values import EVERY_PORT, Direction

TO_RESPONDER, TO_INITIATOR = Direction.TO_RESPONDER, Direction.TO_INITIATOR


def direction_of(
    segment: Segment, way: Way, ports: frozenset[int], table: ConnectionTable
) -> Direction | None:
    """Give the direction of a segment in its connection; None if that belongs to none of these ports."""
    if segment.source_port == segment.destination_port and segment.source == segment.destination:
        return None
    if EVERY_PORT in ports:
        return _direction_of_any(segment, table)
    to_port = segment.destination_port in ports
    from_port = segment.source_port in ports
    if way is Way.INCOMING:
        return TO_RESPONDER if to_port else None
    if way is Way.OUTGOING:
        return TO_INITIATOR if from_port else None
    if to_port and from_port:
        if segment.flags & SYN:
            return _by_handshake(segment)
        return table.direction(segment) or TO_RESPONDER
    if to_port:
        return TO_RESPONDER
    return TO_INITIATOR if from_port else None


def _direction_of_any(segment: Segment, table: ConnectionTable) -> Direction:
    if segment.flags & SYN:
        return _by_handshake(segment)
    known = table.direction(segment)
    if known is not None:
        return known
    return TO_RESPONDER if segment.destination_port <= segment.source_port else TO_INITIATOR


def _by_handshake(segment: Segment) -> Direction:
    return TO_INITIATOR if segment.flags & ACK else TO_RESPONDER
