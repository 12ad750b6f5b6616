"""Hypothesis strategies: for each kind of frame, every value that its fields admit."""

from hypothesis import strategies as st

from podmirror_wire.frames import (
    KINDS,
    Accepted,
    AnyFrame,
    Authenticate,
    Closed,
    Credit,
    Data,
    Digest,
    Dismiss,
    End,
    Ended,
    Examine,
    Findings,
    Frame,
    Gap,
    Goodbye,
    Greeting,
    Hello,
    Interface,
    Ledger,
    Omitted,
    Opened,
    Options,
    Packet,
    Ping,
    Pong,
    Proof,
    Received,
    Recognised,
    Refused,
    Resume,
    Resumed,
    Subscribe,
    Subscribed,
    Timed,
    Unsubscribe,
)
from podmirror_wire.values import CloseReason, Direction, Endpoint, GapReason

u8 = st.integers(0, 2**8 - 1)
u16 = st.integers(0, 2**16 - 1)
u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
text = st.text(max_size=40)
payloads = st.binary(max_size=200)
names = st.text(max_size=60)  # at most 240 bytes of UTF-8: a name's length is one byte
directions = st.sampled_from(Direction)

addresses = st.ip_addresses(v=4) | st.ip_addresses(v=6).filter(lambda ip: ip.ipv4_mapped is None)
endpoints = st.builds(Endpoint, addresses.map(str), u16)


def fixed(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


BY_CLASS: dict[type[Frame], st.SearchStrategy[AnyFrame]] = {
    Greeting: st.builds(Greeting, fixed(4), u8, text),
    Hello: st.builds(Hello, u8, fixed(16), text),
    Proof: st.builds(Proof, fixed(32)),
    Authenticate: st.builds(Authenticate, fixed(32)),
    Accepted: st.builds(Accepted, fixed(16), u64),
    Refused: st.builds(Refused, u32, text),
    Options: st.builds(Options, st.dictionaries(names, text, max_size=5)),
    Subscribe: st.builds(Subscribe, u32, u16),
    Subscribed: st.builds(Subscribed, u32, u64),
    Unsubscribe: st.builds(Unsubscribe, u32),
    Goodbye: st.builds(Goodbye, text),
    Opened: st.builds(Opened, u64, st.booleans(), endpoints, endpoints, u64, text),
    Data: st.builds(Data, u64, directions, u64, payloads),
    Omitted: st.builds(Omitted, u64, directions, u64, u64),
    Gap: st.builds(Gap, u64, directions, u64, u64, st.sampled_from(GapReason)),
    Ended: st.builds(Ended, u64, directions, u64),
    Closed: st.builds(Closed, u64, st.sampled_from(CloseReason), u64),
    Credit: st.builds(Credit, u64, u32),
    Dismiss: st.builds(Dismiss, u64),
    Timed: st.builds(Timed, u64, u64),
    Digest: st.builds(Digest, u64, directions, u64, fixed(32)),
    Recognised: st.builds(Recognised, u64, st.dictionaries(names, text, max_size=3)),
    Interface: st.builds(Interface, u32, u16, text),
    Packet: st.builds(Packet, u32, u8, u64, u32, u32, u64, directions, u64, u32, payloads),
    Ledger: st.builds(Ledger, st.dictionaries(names, u64, max_size=5)),
    Ping: st.builds(Ping, u64, u64),
    Pong: st.builds(Pong, u64, u64, u64),
    Resume: st.builds(Resume, fixed(16), u64),
    Resumed: st.builds(Resumed, u64),
    Received: st.builds(Received, u64),
    End: st.builds(End, text),
    Examine: st.builds(Examine, u32),
    Findings: st.builds(Findings, u32, st.dictionaries(names, text, max_size=5)),
}

frames: st.SearchStrategy[AnyFrame] = st.one_of(*BY_CLASS.values())
unknown_kinds = u8.filter(lambda kind: kind not in KINDS)
