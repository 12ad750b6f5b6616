"""The agent's I/O: one listener on loopback, one capture, and a conversation with each layer.

Life of an agent. It waits for a layer for `ttl` seconds; while one is connected it stays; when the last one says goodbye it
ends at once. A layer that is lost without a goodbye is waited for, for `ttl` seconds again; meanwhile its session goes on, into
buffers that are bounded, and the layer finds it as it left it. A maximum age ends the agent whatever happens, and so does
`stop`, which SIGTERM calls. Before it ends it closes what is open towards its layers, so that they can tell an agent that ended
from a tunnel that broke.

Everything runs in one thread; nothing here waits for a layer while packets are to be read.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Iterable

from podmirror_agent.conversation import FAREWELL_SECONDS, READ_BYTES, Conversation
from podmirror_agent.governor import PERIOD_SECONDS, Governor
from podmirror_agent.mirror import Mirror
from podmirror_agent.reading import PacketSource, Reading
from podmirror_wire.codec import MAX_FRAME_BYTES
from podmirror_wire.decoder import Decoder
from podmirror_wire.errors import ProtocolError
from podmirror_wire.frames import AnyFrame, Refused, Resume
from podmirror_wire.handshake import AgentHandshake
from podmirror_wire.values import CloseReason

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 5.0
"""For a peer to authenticate; port-forward connects us to whoever asks."""

LEDGER_SECONDS = 1.0
ACCEPT_PAUSE_SECONDS = 0.1

STRANGER_FRAME_BYTES = 4096
"""Of a peer that has not authenticated: its frames have less than a hundred bytes, and what it sends is kept till they end."""

MAX_CONVERSATIONS = 16
"""At a time, strangers included: each holds a few buffers until it authenticates."""

_LOST = "the layer was lost, and none came back"


class Server:
    """Serves the layers from one capture until it is time to end."""

    def __init__(
        self,
        capture: PacketSource,
        mirror: Mirror,
        verifier: bytes,
        *,
        ttl: float,
        max_age: float,
        cores: float | None = None,
        farewell: float = FAREWELL_SECONDS,
        examine: Callable[[], dict[str, str]] = dict,
    ) -> None:
        """Set what is served.

        Args:
            capture: Where packets come from.
            mirror: What they become.
            verifier: SHA-256 of the secret.
            ttl: Seconds to wait for a layer.
            max_age: Seconds after which to end in any case.
            cores: CPUs to use at most, on average; None for no limit.
            farewell: Seconds for the last frames to leave.
            examine: Gives what the agent can tell of itself.
        """
        self._capture = capture
        self._mirror = mirror
        self._verifier = verifier
        self._ttl = ttl
        self._max_age = max_age
        self._cores = cores
        self._farewell = farewell
        self._examine = examine
        self._conversations: set[Conversation] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reason: asyncio.Future[str]
        self._lonely: asyncio.TimerHandle | None = None

    async def serve(self, listener: socket.socket) -> str:
        """Run until the agent's end, and give the reason for it."""
        loop = asyncio.get_running_loop()
        self._reason = loop.create_future()
        loop.set_exception_handler(self._receive_fault)
        reading = Reading(self._capture, self._mirror, self._write_output)
        reading.begin()
        if self._max_age < float("inf"):
            loop.call_later(self._max_age, self.stop, f"the maximum age of {self._max_age:g} s was reached")
        self._await_layer("no layer connected")
        working = [
            asyncio.create_task(self._accept_layers(listener), name="accept"),
            asyncio.create_task(self._tick(), name="tick"),
        ]
        if self._cores is not None:
            working.append(asyncio.create_task(self._keep_to_budget(self._cores, reading), name="budget"))
        for task in working:
            task.add_done_callback(self._receive_end_of_work)
        try:
            return await self._reason
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)
            listener.close()
            reading.end()
            told = self._reason.done() and not self._reason.cancelled() and self._reason.exception() is None
            await self._say_farewell(self._reason.result() if told else "a fault of the agent's own")
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

    def _receive_end_of_work(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._reason.done():
            self._reason.set_exception(error)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(LEDGER_SECONDS)
            # What waits in the ring may show that a connection is not silent.
            self._mirror.expire(self._capture.seen_until(asyncio.get_running_loop().time()))
            for conversation in self._conversations:
                conversation.send_ledger()
            self._write_output()

    async def _keep_to_budget(self, cores: float, reading: Reading) -> None:
        loop = asyncio.get_running_loop()
        governor = Governor(cores, time.process_time(), loop.time())
        drops = self._capture.drops()
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            before, drops = drops, self._capture.drops()
            verdict = governor.measure(time.process_time(), loop.time(), dropped=drops > before)
            if verdict.kept != self._mirror.interest.kept:
                log.info(
                    "mirroring %d of 256 classes of connections, to keep to %g CPUs", verdict.kept, cores
                )
                self._mirror.keep(verdict.kept)
                self._capture.set_interest(self._mirror.interest)
                self._write_output()
            if verdict.pause:
                reading.pause(verdict.pause)
                await asyncio.sleep(verdict.pause)

    def _write_output(self) -> None:
        for conversation in self._conversations:
            conversation.tunnel.write()

    async def _accept_layers(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except (
                OSError
            ) as error:  # out of descriptors, or a peer that left at once: the next may fare better
                log.warning("cannot accept a connection: %s", error)
                await asyncio.sleep(ACCEPT_PAUSE_SECONDS)
                continue
            if len(self._tasks) >= MAX_CONVERSATIONS:
                connection.close()
                continue
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = asyncio.create_task(self._serve_layer(connection), name="layer")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve_layer(self, connection: socket.socket) -> None:
        with connection:
            try:
                await self._converse(connection)
            except (OSError, TimeoutError, ProtocolError) as error:
                log.info("a conversation ended: %s", str(error) or type(error).__name__)

    async def _converse(self, connection: socket.socket) -> None:
        decoder = Decoder(max_frame_bytes=STRANGER_FRAME_BYTES)
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                await _authenticate(AgentHandshake(self._verifier), decoder, connection)
        except ProtocolError as error:
            _write_at_once(connection, Refused(0, str(error)))
            raise
        if self._lonely is not None:
            self._lonely.cancel()
        conversation = Conversation(self._mirror, self._capture, self.stop, self._examine)
        conversation.carrier = asyncio.current_task()
        self._conversations.add(conversation)
        log.info("a layer connected")
        try:
            outcome = await conversation.begin(connection, decoder)
            if isinstance(outcome, Resume):
                lost = await self._find_lost(outcome)
                if lost is None:
                    outcome = await conversation.decline("that session is over")
                else:
                    self._end_conversation(conversation)
                    conversation = lost
                    log.info("a layer came back")
                    outcome = await conversation.resume(connection, decoder, outcome.received)
        except ProtocolError:
            self._end_conversation(conversation)
            self._await_another()
            raise
        except BaseException:
            self._lose(conversation)
            raise
        self._end_conversation(conversation)
        if not self._conversations:
            self.stop(f"the layer said goodbye: {outcome}")

    async def _find_lost(self, wish: Resume) -> Conversation | None:
        """Give the session that a layer wants to go on with, free of the tunnel that it had."""
        for conversation in self._conversations:
            if conversation.identifier == wish.session and conversation.can_resume:
                break
        else:
            return None
        assert conversation.carrier is not None, "every conversation runs in a task"
        conversation.break_off("the layer came back through another tunnel")
        await asyncio.wait({conversation.carrier})
        if conversation not in self._conversations:
            return None
        if conversation.expiry is not None:
            conversation.expiry.cancel()
        conversation.carrier = asyncio.current_task()
        return conversation

    def _lose(self, conversation: Conversation) -> None:
        """Keep the session of a layer that left without a goodbye, for as long as it may come back."""
        if self._reason.done() or not conversation.can_resume:
            self._end_conversation(conversation)
            self._await_another()
            return
        log.info("a layer was lost without a goodbye; waiting %g s for it", self._ttl)
        conversation.tunnel.close()
        conversation.expiry = asyncio.get_running_loop().call_later(self._ttl, self._give_up, conversation)

    def _give_up(self, conversation: Conversation) -> None:
        self._end_conversation(conversation)
        if not self._conversations:
            self.stop(f"{_LOST} for {self._ttl:g} s")

    def _await_another(self) -> None:
        if not self._conversations and not self._reason.done():
            log.info("the last layer was lost without a goodbye; waiting %g s for one", self._ttl)
            self._await_layer(_LOST)

    def _end_conversation(self, conversation: Conversation) -> None:
        self._conversations.discard(conversation)
        conversation.end()

    async def _say_farewell(self, reason: str) -> None:
        self._mirror.close_connections(CloseReason.AGENT_ENDED)
        for conversation in self._conversations:
            conversation.say_goodbye(reason)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._farewell)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


async def _authenticate(handshake: AgentHandshake, decoder: Decoder, connection: socket.socket) -> None:
    """Carry the handshake through; what came right behind it stays in the decoder, which counts from there."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, handshake.greeting().encode())
    while not handshake.authenticated:
        data = await loop.sock_recv(connection, READ_BYTES)
        if not data:
            raise ConnectionError("the peer left during the handshake")
        frame = decoder.receive_one(data)
        while frame is not None:
            answer = handshake.receive_frame(frame)
            if answer is None:
                break  # authenticated: the rest is for the session
            await loop.sock_sendall(connection, answer.encode())
            frame = decoder.receive_one()
    decoder.received = 0
    decoder.max_frame_bytes = MAX_FRAME_BYTES


def _write_at_once(connection: socket.socket, frame: AnyFrame) -> None:
    with contextlib.suppress(OSError):
        connection.send(frame.encode())


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
