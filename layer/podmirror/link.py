"""The layer's conversation with an agent, over any stream of bytes.

A `Link` authenticates, subscribes, answers pings and watches the silence; what it hears of mirrored connections goes to one
receiver, synchronously and in order. That receiver never blocks: what the agent may send is bounded by the credit that the
layer gave for each connection, so nothing here needs a queue.

When the stream breaks the link can go on over another one. Both sides number the bytes of their frames, and keep those that the
other has not acknowledged, so that each goes on exactly behind what the other has (docs/protocol.md, Resume).
"""

import asyncio
import time
from collections.abc import Callable
from typing import Never, TypeVar

from podmirror.bytestream import ByteStream, receive_one, shake_hands
from podmirror.clockreading import ClockReading
from podmirror.errors import AgentLost, NotStarted, TunnelLost
from podmirror.firstend import first_end
from podmirror.outgoing import Outgoing
from podmirror_wire.decoder import Decoder
from podmirror_wire.errors import ProtocolError
from podmirror_wire.frames import (
    AnyFrame,
    Closed,
    ConnectionFrame,
    Credit,
    Data,
    Digest,
    Dismiss,
    End,
    Ended,
    Examine,
    Findings,
    Gap,
    Goodbye,
    Interface,
    Ledger,
    Omitted,
    Opened,
    Options,
    Packet,
    PacketFrame,
    Ping,
    Pong,
    Received,
    Recognised,
    Refused,
    Resume,
    Resumed,
    Subscribe,
    Subscribed,
    Timed,
)
from podmirror_wire.values import CAPTURE_ENDED, CloseReason, Direction, GapReason

PING_SECONDS = 5.0
SILENCE_SECONDS = 15.0
"""Without a byte from the agent for so long it is lost: three of its pings, and three answers to ours, are missing."""

GOODBYE_SECONDS = 1.0
"""Of silence, after our goodbye: the agent promises its end at once, and Ctrl-C should feel like it."""

LONGEST_GOODBYE_SECONDS = 5.0
"""For its last ledger in all: it comes behind what was on its way, which takes its time in a slow tunnel."""

ACKNOWLEDGED_BYTES = 256 * 1024
"""After which the agent is told that they came: a sixteenth of what it keeps for us, so that it never waits for the news."""

REPLAY_BYTES = 4 << 20
"""That the agent is asked to keep for a tunnel that is lost: all that is on its way to us at a time."""


SESSION_TOTALS = frozenset(
    {
        "connections",
        "late_joins",
        "bytes_seen",
        "gaps",
        "gap_bytes",
        "cut_connections",
        "cut_bytes",
        "filtered_bytes",
        "filtered_exchanges",
        "kernel_drops",
        "packets_unsent",
        "redacted_out_bytes",
        "redacted_values",
        "sampled_out_connections",
        "shed_connections",
        "shed_bytes",
        "unjudged_exchanges",
    }
)
"""Counts of the agent's ledger that begin anew with each session (docs/protocol.md, Ledger)."""


Result = TypeVar("Result")


class Link:
    """An authenticated conversation, which can go on over another stream when its own breaks."""

    def __init__(self, stream: ByteStream, receiver: Callable[[ConnectionFrame], None]) -> None:
        self.stream = stream
        """What it runs over now."""
        self._receiver = receiver
        self.packet_receiver: Callable[[PacketFrame], None] | None = None
        """Given every packet that the options ask for; set before the first subscription."""
        self._decoder = Decoder()
        self._acknowledged = 0
        """Received bytes that the agent knows of."""
        self._outgoing = Outgoing()
        self._outgoing_ready = asyncio.Event()
        self._session = b""
        self._settings: dict[str, str] = {}
        self._subscriptions: dict[int, asyncio.Future[Subscribed]] = {}
        self._ports: dict[int, int] = {}
        self._questions: dict[int, asyncio.Future[dict[str, str]]] = {}
        self._clock_readers: list[asyncio.Future[ClockReading]] = []
        self._open: set[int] = set()
        """Connections of which more may come."""
        self._pinging_since = 0
        self._parting = False
        self._ledger_heard = asyncio.Event()
        self._earlier_counts: dict[str, int] = {}
        """Of sessions before this one that could not be resumed."""
        self.restarts = 0
        """How often that was so."""
        self.counts: dict[str, int] = {}
        """The agent's ledger, as last heard."""
        self.counted: float | None = None
        """When that was, monotonic seconds; None before the first."""
        self.clock_offset: float | None = None
        """The pod's clock minus ours, seconds, as the last pong showed."""

    async def authenticate(self, secret: bytes) -> None:
        """Carry the handshake through.

        Raises:
            ProtocolError: Whoever is on the other side is not this session's agent.
            AgentLost: The stream ended.
        """
        self._session = (await shake_hands(self.stream, self._decoder, secret)).session

    def ask_for_replay(self) -> None:
        """Have the agent keep what it sends until we have it; before the first subscription. Without, `resume` begins anew."""
        self.send_options({"replay": str(REPLAY_BYTES)})

    async def resume(self, stream: ByteStream, secret: bytes) -> bool:
        """Go on over this stream, where the one before ended; `run` is to be called again then.

        Returns:
            Whether nothing is missing. Otherwise the agent had given the session up, and another one has begun: with the same
            options and subscriptions, and with every connection ended that was open, behind a gap.

        Raises:
            ProtocolError: Whoever is on the other side is not this session's agent.
            AgentLost: The stream ended.
        """
        decoder = Decoder()
        accepted = await shake_hands(stream, decoder, secret)
        wish = Resume(self._session, self._decoder.received).encode()
        await stream.send(wish)
        answer = await receive_one(stream, decoder)
        while not isinstance(answer, Resumed | Refused):  # what the new session says of itself
            answer = await receive_one(stream, decoder)
        resumed = isinstance(answer, Resumed)
        if isinstance(answer, Resumed):
            self._outgoing.rewind(answer.received)
            decoder.received = self._decoder.received
        self.stream, self._decoder = stream, decoder
        self._ledger_heard.clear()
        if not resumed:
            self._begin_anew(accepted.session, len(wish))
        return resumed

    async def run(self) -> str:
        """Talk until the agent says goodbye, and give its reason.

        Raises:
            TunnelLost: The stream broke, or the agent fell silent.
            AgentLost: The agent ended, or broke the rules.
        """
        self._pinging_since = time.time_ns()
        try:
            return await first_end(
                asyncio.create_task(self._read_frames(), name="link: read"),
                asyncio.create_task(self._write_frames(), name="link: write"),
                asyncio.create_task(self._ping(), name="link: ping"),
            )
        except ProtocolError as error:
            raise AgentLost(f"the agent broke the protocol: {error}") from error

    @property
    def received_bytes(self) -> int:
        """Bytes of frames that came from the agent in this session."""
        return self._decoder.received

    @property
    def sent_bytes(self) -> int:
        """Bytes of frames that went to the agent in this session."""
        return self._outgoing.taken

    async def read_clock(self) -> ClockReading:
        """Ping the agent now, and give what its answer says of its clock; `run` must be running."""
        reading: asyncio.Future[ClockReading] = asyncio.get_running_loop().create_future()
        self._clock_readers.append(reading)
        self._send(Ping(time.time_ns(), self._decoder.received))
        return await reading

    async def examine(self) -> dict[str, str]:
        """Ask the agent what it is and what it has used by now (docs/protocol.md, Findings); `run` must be running."""
        request = len(self._questions) + 1
        self._questions[request] = asyncio.get_running_loop().create_future()
        self._send(Examine(request))
        return await self._questions[request]

    async def ledger_heard(self) -> None:
        """Wait for the agent's first ledger since the stream was opened."""
        await self._ledger_heard.wait()

    def send_options(self, settings: dict[str, str]) -> None:
        """Say how this session differs from the defaults; before the first subscription."""
        self._settings |= settings
        self._send(Options(settings))

    async def subscribe(self, port: int) -> Subscribed:
        """Ask for the connections of a port; when this returns, every packet of them passes the agent's filter.

        `run` must be running.

        Raises:
            NotStarted: The agent refused.
        """
        request = len(self._subscriptions) + 1
        self._subscriptions[request] = asyncio.get_running_loop().create_future()
        self._ports[request] = port
        self._send(Subscribe(request, port))
        return await self._subscriptions[request]

    def give_credit(self, connection: int, size: int) -> None:
        """Let the agent send `size` more payload bytes of a connection."""
        self._send(Credit(connection, size))

    def dismiss(self, connection: int) -> None:
        """Ask for no more bytes of a connection, but for their number."""
        self._send(Dismiss(connection))

    def say_goodbye(self, reason: str) -> None:
        """Ask the agent to end; its last ledger comes before `run` returns."""
        self._parting = True
        self._send(Goodbye(reason))

    def ask_for_end(self, reason: str) -> None:
        """Ask the agent to end, whatever other sessions it has; it says goodbye before `run` returns."""
        self._parting = True
        self._send(End(reason))

    def _send(self, frame: AnyFrame) -> None:
        self._outgoing.append(frame.encode())
        self._outgoing_ready.set()

    async def _write_frames(self) -> Never:
        while True:
            if self._outgoing.has_more:
                await self.stream.send(self._outgoing.take())
            self._outgoing_ready.clear()
            await self._outgoing_ready.wait()

    async def _ping(self) -> Never:
        while True:
            self._send(Ping(time.time_ns(), self._decoder.received))
            await asyncio.sleep(PING_SECONDS)

    async def _read_frames(self) -> str:
        data = b""
        while True:
            for frame in self._decoder.receive_data(data):
                if isinstance(frame, Goodbye):
                    return self._part(frame)
                self._receive_frame(frame)
            self._acknowledge()
            try:
                async with asyncio.timeout(SILENCE_SECONDS):
                    data = await self.stream.receive()
            except TimeoutError:
                raise TunnelLost(f"nothing was heard from the agent for {SILENCE_SECONDS:g} s") from None
            if not data:
                raise TunnelLost("the connection to the agent was closed without a goodbye")

    def _acknowledge(self) -> None:
        received = self._decoder.received
        if received - self._acknowledged >= ACKNOWLEDGED_BYTES:
            self._acknowledged = received
            self._send(Received(received))

    def _begin_anew(self, session: bytes, sent: int) -> None:
        """Take a session in place of the one that the agent has given up; so many bytes were sent in it already."""
        self._session = session
        self._acknowledged = 0
        self._outgoing = Outgoing(sent)
        self._earlier_counts = {name: self.counts.get(name, 0) for name in SESSION_TOTALS}
        self.restarts += 1
        if self._settings:
            self._send(Options(self._settings))
        for request, port in self._ports.items():
            self._send(Subscribe(request, port))
        for connection in sorted(self._open):
            self._receiver(Gap(connection, Direction.TO_RESPONDER, 0, 0, GapReason.MISSED))
            self._receiver(Closed(connection, CloseReason.AGENT_ENDED, 0))
        self._open.clear()

    def _part(self, goodbye: Goodbye) -> str:
        if not self._parting and not goodbye.reason.startswith(CAPTURE_ENDED):
            raise AgentLost(f"the agent ended: {goodbye.reason}")
        return goodbye.reason

    def _receive_frame(self, frame: AnyFrame) -> None:
        match frame:
            case Data() | Omitted() | Gap() | Ended() | Timed() | Digest() | Recognised():
                self._receiver(frame)
            case Opened() | Closed():
                (self._open.add if isinstance(frame, Opened) else self._open.discard)(frame.connection)
                self._receiver(frame)
            case Interface() | Packet() if self.packet_receiver is not None:
                self.packet_receiver(frame)
            case Ledger():
                self._receive_ledger(frame)
            case Ping():
                self._outgoing.acknowledge(frame.received)
                self._send(Pong(frame.time, time.time_ns(), self._decoder.received))
            case Pong():
                self._outgoing.acknowledge(frame.received)
                self._receive_clock(frame, time.time_ns())
            case Received():
                self._outgoing.acknowledge(frame.received)
            case Subscribed() if frame.request in self._subscriptions:
                _settle(self._subscriptions[frame.request], frame)
            case Findings() if frame.request in self._questions:
                _settle(self._questions[frame.request], frame.findings)
            case Refused() if frame.request in self._subscriptions:
                _settle(self._subscriptions[frame.request], NotStarted(f"the agent refused: {frame.reason}"))
            case Refused():
                raise AgentLost(f"the agent refused to go on: {frame.reason}")
            case _:
                raise ProtocolError(f"{type(frame).__name__} from an agent")

    def _receive_clock(self, pong: Pong, now: int) -> None:
        if pong.ping_time < self._pinging_since:
            return  # it waited for this stream
        reading = ClockReading.of(pong, now)
        self.clock_offset = reading.offset
        for reader in self._clock_readers:
            _settle(reader, reading)
        self._clock_readers.clear()

    def _receive_ledger(self, ledger: Ledger) -> None:
        earlier = {name: count for name, count in self._earlier_counts.items() if name in ledger.counts}
        self.counts = ledger.counts | {name: ledger.counts[name] + count for name, count in earlier.items()}
        self.counted = time.monotonic()
        self._ledger_heard.set()


def _settle(future: "asyncio.Future[Result]", result: Result | Exception) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
