"""What an agent takes, for a unit of traffic. No I/O."""

from podmirror.compare.figures import Cost
from podmirror.compare.spread import Figure, Unknown

LEAST_BYTES = 1_000_000
LEAST_PACKETS = 1_000
"""Below these what the agent does once a second outweighs what it does for traffic, and a rate would say nothing."""


def per_gibibyte(cost: Cost) -> Figure:
    """Give CPU seconds for each GiB of payload."""
    if cost.seen_bytes < LEAST_BYTES:
        return Unknown(
            f"only {cost.seen_bytes:,.0f} bytes passed, and below {LEAST_BYTES:,} a rate says nothing"
        )
    return cost.cpu if isinstance(cost.cpu, Unknown) else cost.cpu * 2**30 / cost.seen_bytes


def per_million_packets(cost: Cost) -> Figure:
    """Give CPU seconds for each million packets."""
    if isinstance(cost.packets, Unknown):
        return cost.packets
    if cost.packets < LEAST_PACKETS:
        return Unknown(
            f"only {cost.packets:,.0f} packets passed, and below {LEAST_PACKETS:,} a rate says nothing"
        )
    return cost.cpu if isinstance(cost.cpu, Unknown) else cost.cpu * 1e6 / cost.packets
