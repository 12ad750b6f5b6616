"""The layer's conversation with an agent, over any stream of bytes.

A `Link` authenticates, subscribes, answers pings and watches the silence; what it hears of mirrored connections goes to one
receiver, synchronously and in order. That receiver never blocks: what the agent may send is bounded by the credit that the
layer gave for each connection, so nothing here needs a queue.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from podmirror.errors import AgentLost, NotStarted
from podmirror_wire.decoder import Decoder
from podmirror_wire.errors import ProtocolError
from podmirror_wire.frames import (
    AnyFrame,
    Closed,
    ConnectionFrame,
    Credit,
    Data,
    Dismiss,
    Ended,
    Gap,
    Goodbye,
    Ledger,
    Omitted,
    Opened,
    Options,
    Ping,
    Pong,
    Refused,
    Subscribe,
    Subscribed,
)
from podmirror_wire.handshake import LayerHandshake

PING_SECONDS = 5.0
SILENCE_SECONDS = 15.0
"""Without a byte from the agent for so long it is lost: three of its pings, and three answers to ours, are missing."""

GOODBYE_SECONDS = 1.0
"""For the agent's last ledger after our goodbye; the agent promises its end at once, and Ctrl-C should feel like it."""


class ByteStream(Protocol):
    """What a link runs over. Both methods raise `AgentLost` when the stream breaks."""

    async def receive(self) -> bytes:
        """Give the next bytes; none at all at the end of the stream."""

    async def send(self, data: bytes) -> None:
        """Send bytes, waiting while the other side does not keep up."""

    async def close(self) -> None:
        """Let go of the stream."""


class Link:
    """An authenticated conversation."""

    def __init__(self, stream: ByteStream, receiver: Callable[[ConnectionFrame], None]) -> None:
        self._stream = stream
        self._receiver = receiver
        self._decoder = Decoder()
        self._early: list[AnyFrame] = []
        self._outgoing: list[bytes] = []
        self._outgoing_ready = asyncio.Event()
        self._subscriptions: dict[int, asyncio.Future[Subscribed]] = {}
        self._parting = False
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
        handshake = LayerHandshake(secret)
        while handshake.accepted is None:
            data = await self._stream.receive()
            if not data:
                raise AgentLost("the agent closed the connection during the handshake")
            frames = self._decoder.receive_data(data)
            while frames and handshake.accepted is None:
                answer = handshake.receive_frame(frames.pop(0))
                if answer is not None:
                    await self._stream.send(answer.encode())
            self._early += frames

    async def run(self) -> str:
        """Talk until the agent says goodbye, and give its reason.

        Raises:
            AgentLost: The stream broke, or the agent fell silent or broke the rules.
        """
        try:
            async with asyncio.TaskGroup() as group:
                side_tasks = [
                    group.create_task(self._write_frames(), name="link: write"),
                    group.create_task(self._ping(), name="link: ping"),
                ]
                reason = await self._read_frames()
                for task in side_tasks:
                    task.cancel()
        except ExceptionGroup as group:
            error = group.exceptions[0]  # whichever task met the end first
            if isinstance(error, ProtocolError):
                raise AgentLost(f"the agent broke the protocol: {error}") from error
            raise error from None
        return reason

    def send_options(self, settings: dict[str, str]) -> None:
        """Say how this session differs from the defaults; before the first subscription."""
        self._send(Options(settings))

    async def subscribe(self, port: int) -> Subscribed:
        """Ask for the connections of a port; when this returns, every packet of them passes the agent's filter.

        `run` must be running.

        Raises:
            NotStarted: The agent refused.
        """
        request = len(self._subscriptions) + 1
        self._subscriptions[request] = asyncio.get_running_loop().create_future()
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

    def _send(self, frame: AnyFrame) -> None:
        self._outgoing.append(frame.encode())
        self._outgoing_ready.set()

    async def _write_frames(self) -> None:
        while True:
            await self._outgoing_ready.wait()
            self._outgoing_ready.clear()
            outgoing, self._outgoing = self._outgoing, []
            await self._stream.send(b"".join(outgoing))

    async def _ping(self) -> None:
        while True:
            self._send(Ping(time.time_ns(), self._decoder.received))
            await asyncio.sleep(PING_SECONDS)

    async def _read_frames(self) -> str:
        frames, self._early = self._early, []
        while True:
            for frame in frames:
                if isinstance(frame, Goodbye):
                    return self._part(frame)
                self._receive_frame(frame)
            try:
                async with asyncio.timeout(SILENCE_SECONDS):
                    data = await self._stream.receive()
            except TimeoutError:
                raise AgentLost(f"nothing was heard from the agent for {SILENCE_SECONDS:g} s") from None
            if not data:
                raise AgentLost("the connection to the agent was closed without a goodbye")
            frames = self._decoder.receive_data(data)

    def _part(self, goodbye: Goodbye) -> str:
        if not self._parting:
            raise AgentLost(f"the agent ended: {goodbye.reason}")
        return goodbye.reason

    def _receive_frame(self, frame: AnyFrame) -> None:
        match frame:
            case Opened() | Data() | Omitted() | Gap() | Ended() | Closed():
                self._receiver(frame)
            case Ledger():
                self.counts = frame.counts
                self.counted = time.monotonic()
            case Ping():
                self._send(Pong(frame.time, time.time_ns(), self._decoder.received))
            case Pong():
                now = time.time_ns()
                self.clock_offset = (frame.time - (frame.ping_time + now) / 2) / 1e9
            case Subscribed() if frame.request in self._subscriptions:
                _settle(self._subscriptions[frame.request], frame)
            case Refused() if frame.request in self._subscriptions:
                _settle(self._subscriptions[frame.request], NotStarted(f"the agent refused: {frame.reason}"))
            case Refused():
                raise AgentLost(f"the agent refused to go on: {frame.reason}")
            case _:
                raise ProtocolError(f"{type(frame).__name__} from an agent")


def _settle(future: asyncio.Future[Subscribed], result: Subscribed | Exception) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
