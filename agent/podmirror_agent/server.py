"""The agent's I/O: one listener on loopback, one capture, and a conversation with each layer.

Life of an agent. It waits for a layer for `ttl` seconds; while one is connected it stays; when the last one says goodbye it
ends at once, and when the last one is lost without a goodbye it waits for `ttl` seconds again. A maximum age ends it whatever
happens, and so does `stop`, which SIGTERM calls. Before it ends it closes what is open towards its layers, so that they can
tell an agent that ended from a tunnel that broke.

Everything runs in one thread; nothing here waits for a layer while packets are to be read.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from podmirror_agent.mirror import Mirror, Session
from podmirror_agent.packet import CapturedPacket
from podmirror_wire.decoder import Decoder
from podmirror_wire.errors import ProtocolError, UnexpectedFrame
from podmirror_wire.frames import (
    Accepted,
    AnyFrame,
    Goodbye,
    Ledger,
    Ping,
    Pong,
    Refused,
    Resume,
)
from podmirror_wire.handshake import AgentHandshake
from podmirror_wire.values import CloseReason

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 5.0
"""For a peer to authenticate; port-forward connects us to whoever asks."""

PING_SECONDS = 5.0
SILENCE_SECONDS = 20.0
"""A layer that has not sent a byte for so long is lost: four pings were not answered."""

LEDGER_SECONDS = 1.0
FAREWELL_SECONDS = 0.5
"""For the last frames to leave; SIGTERM promises an end within a second."""

READ_BYTES = 64 * 1024
WRITE_BUFFER_BYTES = 256 * 1024

MAX_CONVERSATIONS = 16
"""At a time, strangers included: each holds a few buffers until it authenticates."""


class PacketSource(Protocol):
    """What `Capture` offers; tests put packets of their own in its place."""

    def fileno(self) -> int:
        """Give the descriptor that turns readable when there are packets."""

    def set_ports(self, ports: frozenset[int]) -> None:
        """Let packets of these ports through."""

    def read_packets(self) -> Iterable[CapturedPacket]:
        """Give the packets that are there."""

    def drops(self) -> int:
        """Count the packets that were lost before they could be read."""

    def close(self) -> None:
        """Let go of everything."""


class Server:
    """Serves the layers from one capture until it is time to end."""

    def __init__(
        self, capture: PacketSource, mirror: Mirror, verifier: bytes, *, ttl: float, max_age: float
    ) -> None:
        """Set what is served; `verifier` is the SHA-256 of the secret, `ttl` and `max_age` are seconds."""
        self._capture = capture
        self._mirror = mirror
        self._verifier = verifier
        self._ttl = ttl
        self._max_age = max_age
        self._conversations: set[_Conversation] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reason: asyncio.Future[str]
        self._lonely: asyncio.TimerHandle | None = None

    async def serve(self, listener: socket.socket) -> str:
        """Run until the agent's end, and give the reason for it."""
        loop = asyncio.get_running_loop()
        self._reason = loop.create_future()
        loop.set_exception_handler(self._receive_fault)
        loop.add_reader(self._capture.fileno(), self._read_capture)
        loop.call_later(self._max_age, self.stop, f"the maximum age of {self._max_age:g} s was reached")
        self._await_layer("no layer connected")
        server = await asyncio.start_server(self._accept, sock=listener)
        ticking = asyncio.create_task(self._tick(), name="tick")
        ticking.add_done_callback(self._receive_end_of_tick)
        try:
            return await self._reason
        finally:
            ticking.cancel()
            server.close()
            loop.remove_reader(self._capture.fileno())
            await self._say_farewell()
            self._capture.close()

    def stop(self, reason: str) -> None:
        """End the agent for that reason, unless it is ending already."""
        if not self._reason.done():
            self._reason.set_result(reason)

    def _await_layer(self, what: str) -> None:
        loop = asyncio.get_running_loop()
        self._lonely = loop.call_later(self._ttl, self.stop, f"{what} for {self._ttl:g} s")

    def _receive_fault(self, _: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        error = context.get("exception")
        if not self._reason.done() and isinstance(error, Exception):
            self._reason.set_exception(error)
        else:
            log.error("%s: %r", context.get("message"), error)

    def _receive_end_of_tick(self, ticking: "asyncio.Task[None]") -> None:
        error = None if ticking.cancelled() else ticking.exception()
        if error is not None and not self._reason.done():
            self._reason.set_exception(error)

    def _read_capture(self) -> None:
        now = asyncio.get_running_loop().time()
        self._mirror.receive_packets(self._capture.read_packets(), now)
        self._wake_writers()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(LEDGER_SECONDS)
            self._mirror.expire(asyncio.get_running_loop().time())
            for conversation in self._conversations:
                conversation.send_ledger()
            self._wake_writers()

    def _wake_writers(self) -> None:
        for conversation in self._conversations:
            conversation.wake_writer()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "asyncio runs connection callbacks in tasks"
        if len(self._tasks) >= MAX_CONVERSATIONS:
            writer.close()
            return
        self._tasks.add(task)
        try:
            await self._converse(reader, writer)
        except (ConnectionError, TimeoutError, ProtocolError, asyncio.IncompleteReadError) as error:
            log.info("a conversation ended: %s", str(error) or type(error).__name__)
        except asyncio.CancelledError:
            pass  # only the agent's end cancels; asyncio 3.11's streams would report a cancelled callback as an error
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        decoder = Decoder()
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                early = await _authenticate(AgentHandshake(self._verifier), decoder, reader, writer)
        except ProtocolError as error:
            writer.write(Refused(0, str(error)).encode())
            raise
        conversation = _Conversation(self._mirror, self._capture, decoder, writer)
        if self._lonely is not None:
            self._lonely.cancel()
        self._conversations.add(conversation)
        log.info("a layer connected")
        try:
            goodbye = await conversation.run(reader, early)
        except BaseException:
            self._lose(conversation)
            raise
        self._end_conversation(conversation)
        if not self._conversations:
            self.stop(f"the layer said goodbye: {goodbye}")

    def _lose(self, conversation: "_Conversation") -> None:
        self._end_conversation(conversation)
        if not self._conversations and not self._reason.done():
            log.info("the last layer was lost without a goodbye; waiting %g s for one", self._ttl)
            self._await_layer("the layer was lost, and none came back")

    def _end_conversation(self, conversation: "_Conversation") -> None:
        self._conversations.discard(conversation)
        conversation.end()

    async def _say_farewell(self) -> None:
        self._mirror.close_connections(CloseReason.AGENT_ENDED)
        await asyncio.gather(*(each.say_goodbye("the agent ends") for each in self._conversations))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _authenticate(
    handshake: AgentHandshake, decoder: Decoder, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> list[AnyFrame]:
    """Carry the handshake through; give the frames that came right behind it."""
    writer.write(handshake.greeting().encode())
    while True:
        data = await reader.read(READ_BYTES)
        if not data:
            raise ConnectionError("the peer left during the handshake")
        frames = decoder.receive_data(data)
        for position, frame in enumerate(frames):
            answer = handshake.receive_frame(frame)
            if answer is not None:
                writer.write(answer.encode())
            if handshake.authenticated:
                return frames[position + 1 :]


class _Conversation:
    """An authenticated layer."""

    def __init__(
        self, mirror: Mirror, capture: PacketSource, decoder: Decoder, writer: asyncio.StreamWriter
    ) -> None:
        self._mirror = mirror
        self._capture = capture
        self._decoder = decoder
        self._writer = writer
        self._session: Session = mirror.add_session()
        self._drops_before = capture.drops()
        self._output_ready = asyncio.Event()
        self._last_ledger: Ledger | None = None
        self._session.outbox.send(Accepted(self._session.identifier, time.time_ns()))

    async def run(self, reader: asyncio.StreamReader, early: list[AnyFrame]) -> str:
        """Talk until the layer says goodbye, and give its reason.

        Raises:
            ConnectionError: The layer is gone.
            TimeoutError: The layer is silent.
            ProtocolError: The layer broke the rules; it was told so.
        """
        try:
            async with asyncio.TaskGroup() as group:
                side_tasks = [
                    group.create_task(self._write_output(), name="write"),
                    group.create_task(self._ping(), name="ping"),
                ]
                goodbye = await self._read_frames(reader, early)
                for task in side_tasks:
                    task.cancel()
        except ExceptionGroup as group:
            error = group.exceptions[0]  # whichever task met the end first
            if isinstance(error, ProtocolError):
                self._writer.write(Refused(0, str(error)).encode())
            raise error from None
        await self.say_goodbye("as asked")
        return goodbye

    async def _read_frames(self, reader: asyncio.StreamReader, early: list[AnyFrame]) -> str:
        frames = early
        while True:
            for frame in frames:
                if isinstance(frame, Goodbye):
                    return frame.reason
                self._receive_frame(frame)
            self.wake_writer()
            async with asyncio.timeout(SILENCE_SECONDS):
                data = await reader.read(READ_BYTES)
            if not data:
                raise ConnectionError("the layer closed the connection without a goodbye")
            frames = self._decoder.receive_data(data)

    def _receive_frame(self, frame: AnyFrame) -> None:
        match frame:
            case Ping():
                self._session.outbox.send(Pong(frame.time, time.time_ns(), self._decoder.received))
            case Pong():
                pass  # that it arrived is all it says to us
            case Resume():
                raise UnexpectedFrame("this agent keeps nothing to resume from")
            case _:
                before = self._mirror.ports
                self._mirror.receive_frame(self._session, frame, time.time_ns())
                if self._mirror.ports != before:
                    self._capture.set_ports(self._mirror.ports)

    def wake_writer(self) -> None:
        """Let the writer look for output."""
        if self._session.outbox.has_output:
            self._output_ready.set()

    async def _write_output(self) -> None:
        while True:
            await self._output_ready.wait()
            self._output_ready.clear()
            while output := self._session.outbox.take_output():
                self._writer.writelines(output)
                await self._writer.drain()

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(PING_SECONDS)
            self._session.outbox.send(Ping(time.time_ns(), self._decoder.received))
            self.wake_writer()

    def send_ledger(self) -> None:
        """Tell the running totals, if they have changed."""
        ledger = self._mirror.ledger(self._session, self._capture.drops() - self._drops_before)
        if ledger != self._last_ledger:
            self._last_ledger = ledger
            self._session.outbox.send(ledger)

    async def say_goodbye(self, reason: str) -> None:
        """Send what is ready, the last ledger and the goodbye, as far as the layer takes it in `FAREWELL_SECONDS`."""
        self.send_ledger()
        self._session.outbox.send(Goodbye(reason))
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                while output := self._session.outbox.take_output():
                    self._writer.writelines(output)
                    await self._writer.drain()
                self._writer.close()  # behind what was written; a transport that is aborted drops it
                await self._writer.wait_closed()

    def end(self) -> None:
        """Give up the session and let the kernel filter forget its ports."""
        before = self._mirror.ports
        self._mirror.remove_session(self._session)
        if self._mirror.ports != before:
            self._capture.set_ports(self._mirror.ports)


def bind_first_free(
    ports: Iterable[int], *, make: Callable[..., socket.socket] = socket.socket
) -> socket.socket:
    """Bind 127.0.0.1 on the first candidate port that is free, and listen.

    Raises:
        OSError: All of them are taken.
    """
    candidates = list(ports)
    for port in candidates:
        listener = make(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(MAX_CONVERSATIONS)
        except OSError:
            listener.close()
        else:
            return listener
    raise OSError(f"none of the ports {', '.join(map(str, candidates))} is free on 127.0.0.1")
