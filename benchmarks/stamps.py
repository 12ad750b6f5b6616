"""When each request arrived, as the programs in C noted it. Nothing here measures."""

import struct
from dataclasses import dataclass

_RECORD = struct.Struct("=QQII")  # struct record of native/message.h: sent, received, connection, number


@dataclass(frozen=True)
class Arrival:
    """A request's two times, in nanoseconds of the machine's monotonic clock."""

    sent: int
    received: int


def parse_records(data: bytes) -> dict[tuple[int, int], Arrival]:
    """Give the arrivals by connection and number; of a request that arrived twice, the first."""
    arrivals: dict[tuple[int, int], Arrival] = {}
    for sent, received, connection, number in _RECORD.iter_unpack(data):
        arrivals.setdefault((connection, number), Arrival(sent, received))
    return arrivals


def added_microseconds(
    direct: dict[tuple[int, int], Arrival], mirrored: dict[tuple[int, int], Arrival]
) -> list[float]:
    """Give how much later than at the app each request was at the layer, for those that arrived at both."""
    return [
        (mirrored[which].received - arrival.received) / 1e3
        for which, arrival in direct.items()
        if which in mirrored
    ]
