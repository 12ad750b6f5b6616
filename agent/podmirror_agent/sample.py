"""Which connections are in a sample: told by their ends alone, so that every agent, and every run, picks the same."""

from hashlib import blake2b

from podmirror_wire.values import Endpoint


def in_sample(one: Endpoint, other: Endpoint, fraction: float) -> bool:
    """Whether a connection is in a sample of that size, 0 to 1, whichever of its ends is named first.

    A larger sample holds all of a smaller one.
    """
    if fraction >= 1:
        return True
    ends = b"".join(sorted(end.packed() + end.port.to_bytes(2, "big") for end in (one, other)))
    place = int.from_bytes(blake2b(ends, digest_size=8).digest(), "big")
    return place < fraction * (1 << 64)
