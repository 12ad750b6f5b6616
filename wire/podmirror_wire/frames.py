"""The frames: one dataclass for each kind of message.

The byte tables stand in docs/protocol.md, and the vectors in tests/wire/test_frames.py pin them: a change to either is a new
protocol version. Kinds that a reader does not know are skipped, so a newer peer may add frames that an older one can do
without.
"""

import struct
from dataclasses import dataclass
from typing import TypeAlias

from podmirror_wire.codec import Frame, Tail
from podmirror_wire.lookframes import Digest as Digest
from podmirror_wire.lookframes import Interface as Interface
from podmirror_wire.lookframes import Packet as Packet
from podmirror_wire.lookframes import Recognised as Recognised
from podmirror_wire.lookframes import Timed as Timed
from podmirror_wire.values import CloseReason, Direction, Endpoint, GapReason

PROTOCOL_VERSION = 1
MAGIC = b"PODM"

MAX_DATA_BYTES = 256 * 1024
"""Largest payload that a sender puts into one data frame, so that a ping never waits behind more than that."""


# Setting up and ending a session.


@dataclass(frozen=True, slots=True)
class Greeting(Frame):
    """Agent to layer, first of all: who is listening here."""

    KIND = 1
    FIXED = struct.Struct("!4sB")
    TAIL = Tail.TEXT
    magic: bytes
    protocol_version: int
    agent_version: str


@dataclass(frozen=True, slots=True)
class Hello(Frame):
    """Layer to agent: who calls, and a fresh number that the agent's proof must cover."""

    KIND = 2
    FIXED = struct.Struct("!B16s")
    TAIL = Tail.TEXT
    protocol_version: int
    nonce: bytes
    layer_version: str


@dataclass(frozen=True, slots=True)
class Proof(Frame):
    """Agent to layer: HMAC-SHA256 of the nonce under the verifier, so that the secret is told to no stranger."""

    KIND = 3
    FIXED = struct.Struct("!32s")
    digest: bytes


@dataclass(frozen=True, slots=True)
class Authenticate(Frame):
    """Layer to agent: the session's secret, 32 bytes; its SHA-256 is the verifier."""

    KIND = 4
    FIXED = struct.Struct("!32s")
    secret: bytes


@dataclass(frozen=True, slots=True)
class Accepted(Frame):
    """Agent to layer: the conversation is open. The time is the pod's clock, in nanoseconds since 1970."""

    KIND = 5
    FIXED = struct.Struct("!16sQ")
    session: bytes
    pod_time: int


@dataclass(frozen=True, slots=True)
class Refused(Frame):
    """Either way: what was asked is not done, and why. The request is that of the subscription, 0 for the session."""

    KIND = 6
    FIXED = struct.Struct("!I")
    TAIL = Tail.TEXT
    request: int
    reason: str


@dataclass(frozen=True, slots=True)
class Options(Frame):
    """Layer to agent, before the first subscription.

    An agent refuses the session over an option it does not know: to ignore a filter silently would be worse than to stop.
    """

    KIND = 7
    TAIL = Tail.SETTINGS
    settings: dict[str, str]


@dataclass(frozen=True, slots=True)
class Subscribe(Frame):
    """Layer to agent: mirror the connections whose responder is this port of the pod."""

    KIND = 8
    FIXED = struct.Struct("!IH")
    request: int
    port: int


@dataclass(frozen=True, slots=True)
class Subscribed(Frame):
    """Agent to layer: from this pod time on, every packet of such connections passes the kernel filter."""

    KIND = 9
    FIXED = struct.Struct("!IQ")
    request: int
    pod_time: int


@dataclass(frozen=True, slots=True)
class Unsubscribe(Frame):
    """Layer to agent: the subscription of that request is over; its connections are closed as UNSUBSCRIBED.

    A later subscription of the same session does not open them again, though they go on in the pod.
    """

    KIND = 10
    FIXED = struct.Struct("!I")
    request: int


@dataclass(frozen=True, slots=True)
class Goodbye(Frame):
    """Either way: the session is over, on purpose. The agent ends at once when its last layer says it."""

    KIND = 11
    TAIL = Tail.TEXT
    reason: str


# Mirrored connections. Connection numbers are unique in a session.


@dataclass(frozen=True, slots=True)
class Opened(Frame):
    """Agent to layer: a connection of a subscribed port. Late: its SYN was never seen, so its beginning is unknown."""

    KIND = 16
    FIXED = struct.Struct("!Q?16sH16sHQ")
    TAIL = Tail.TEXT
    connection: int
    late: bool
    initiator: Endpoint
    responder: Endpoint
    pod_time: int
    interface: str


@dataclass(frozen=True, slots=True)
class Data(Frame):
    """Agent to layer: bytes of one direction.

    The offset counts from the direction's first byte, or from the first that this agent saw of it. A session that subscribed
    while the agent was following the connection already begins in the middle.
    """

    KIND = 17
    FIXED = struct.Struct("!QBQ")
    TAIL = Tail.BYTES
    connection: int
    direction: Direction
    offset: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Omitted(Frame):
    """Agent to layer: bytes that were seen in order and are not sent, because nobody wants them."""

    KIND = 18
    FIXED = struct.Struct("!QBQQ")
    connection: int
    direction: Direction
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Gap(Frame):
    """Agent to layer: bytes that the app received and that are lost here. What follows begins at offset + length."""

    KIND = 19
    FIXED = struct.Struct("!QBQQB")
    connection: int
    direction: Direction
    offset: int
    length: int
    reason: GapReason


@dataclass(frozen=True, slots=True)
class Ended(Frame):
    """Agent to layer: FIN; this direction has no byte beyond the offset. The other direction may go on."""

    KIND = 20
    FIXED = struct.Struct("!QBQ")
    connection: int
    direction: Direction
    offset: int


@dataclass(frozen=True, slots=True)
class Closed(Frame):
    """Agent to layer: the last frame of a connection. Unsent: bytes that were held for it and given up."""

    KIND = 21
    FIXED = struct.Struct("!QBQ")
    connection: int
    reason: CloseReason
    unsent: int


@dataclass(frozen=True, slots=True)
class Credit(Frame):
    """Layer to agent: so many more payload bytes of this connection may be sent."""

    KIND = 22
    FIXED = struct.Struct("!QI")
    connection: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Dismiss(Frame):
    """Layer to agent: no byte of this connection is wanted from now on; lengths go on as `Omitted`, and use no credit."""

    KIND = 24
    FIXED = struct.Struct("!Q")
    connection: int


# Keeping the session alive and honest.


@dataclass(frozen=True, slots=True)
class Ledger(Frame):
    """Agent to layer: what was seen and what was lost so far in this session, as running totals."""

    KIND = 32
    TAIL = Tail.COUNTS
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Ping(Frame):
    """Either way: answer at once. Received counts all bytes of frames that came from the peer in this session."""

    KIND = 33
    FIXED = struct.Struct("!QQ")
    time: int
    """The sender's clock, nanoseconds since 1970."""
    received: int


@dataclass(frozen=True, slots=True)
class Pong(Frame):
    """Either way: the answer, with both clocks, from which the offset between them follows."""

    KIND = 34
    FIXED = struct.Struct("!QQQ")
    ping_time: int
    time: int
    received: int


@dataclass(frozen=True, slots=True)
class Resume(Frame):
    """Layer to agent, first of all behind the handshake: go on with that session after so many received bytes of frames."""

    KIND = 35
    FIXED = struct.Struct("!16sQ")
    session: bytes
    received: int


@dataclass(frozen=True, slots=True)
class Resumed(Frame):
    """Agent to layer: that session goes on behind this frame, and the layer's side of it after so many received bytes."""

    KIND = 36
    FIXED = struct.Struct("!Q")
    received: int


@dataclass(frozen=True, slots=True)
class Received(Frame):
    """Either way: so many bytes of frames came in this session, and need not be kept any longer."""

    KIND = 37
    FIXED = struct.Struct("!Q")
    received: int


@dataclass(frozen=True, slots=True)
class End(Frame):
    """Layer to agent: end at once, whatever other sessions there are."""

    KIND = 38
    TAIL = Tail.TEXT
    reason: str


@dataclass(frozen=True, slots=True)
class Examine(Frame):
    """Layer to agent: tell what you are and what you have used, as of now."""

    KIND = 39
    FIXED = struct.Struct("!I")
    request: int


@dataclass(frozen=True, slots=True)
class Findings(Frame):
    """Agent to layer: the answer. What the agent cannot read is not among the findings, or is there with the reason."""

    KIND = 40
    FIXED = struct.Struct("!I")
    TAIL = Tail.SETTINGS
    request: int
    findings: dict[str, str]


AnyFrame: TypeAlias = (
    Greeting
    | Hello
    | Proof
    | Authenticate
    | Accepted
    | Refused
    | Options
    | Subscribe
    | Subscribed
    | Unsubscribe
    | Goodbye
    | Opened
    | Data
    | Omitted
    | Gap
    | Ended
    | Closed
    | Credit
    | Dismiss
    | Interface
    | Packet
    | Timed
    | Digest
    | Recognised
    | Ledger
    | Ping
    | Pong
    | Resume
    | Resumed
    | Received
    | End
    | Examine
    | Findings
)
ConnectionFrame: TypeAlias = Opened | Data | Omitted | Gap | Ended | Closed | Timed | Digest | Recognised
"""What is told of mirrored connections."""

PacketFrame: TypeAlias = Interface | Packet
"""What is told of packets."""

KINDS: dict[int, type[AnyFrame]] = {kind.KIND: kind for kind in AnyFrame.__args__}
