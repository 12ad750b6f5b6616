"""A stage for raw initiators: a real listening socket in the target's namespace, and an agent that watches beside it."""

import asyncio
import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from podmirror_agent.segment import ACK, FIN, RST
from podmirror_wire.values import Direction
from tests.namespaces import Namespaces, in_order, namespaces
from tests.rawpeer import RawPeer, introduce
from tests.transfers import APP_PORT, Mirrored, Told, mirrored

Script = Callable[[RawPeer], None]


@dataclass
class App:
    """One accepted connection, as its recv() tells of it."""

    connection: socket.socket
    received: bytearray = field(default_factory=bytearray)
    end: str = ""
    """FIN, or the name of the error."""
    urgent: bytes = b""

    def read(self) -> None:
        try:
            while data := self.connection.recv(65536):
                self.received += data
            self.end = "FIN"
        except OSError as error:
            self.end = type(error).__name__


@dataclass
class Stage:
    """The namespaces, the app's listener, and a session with the agent that runs in a thread of its own."""

    made: Namespaces
    listener: socket.socket
    loop: asyncio.AbstractEventLoop
    agent: Mirrored
    ports: Iterator[int] = field(default_factory=lambda: itertools.count(20_000))

    @contextlib.contextmanager
    def connection(
        self, family: int = 4, *, inline: bool = False, seconds: float = 20.0
    ) -> Iterator[tuple[RawPeer, App]]:
        """Give a raw initiator and the app's end, connected; the app's recv() waits so long."""
        with in_order(), RawPeer(self.made, APP_PORT, next(self.ports), family) as peer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, inline)
            peer.handshake()
            accepted, _ = self.listener.accept()
            with accepted:
                accepted.settimeout(seconds)
                yield peer, App(accepted)

    def play(self, script: Script, family: int = 4, *, inline: bool = False) -> tuple[App, Told]:
        """Let a script play, and give what the app and what the layer got of it.

        The script ends its side of the connection, and the app answers that.
        """
        with self.connection(family, inline=inline) as (peer, app):
            reader = threading.Thread(target=app.read)
            reader.start()
            script(peer)
            reader.join()
            if app.end == "FIN":
                app.connection.close()
                end = peer.receive(lambda segment: bool(segment.flags & (FIN | RST)))
                app.end = "FIN, answered with RST" if end.flags & RST else "FIN"
                peer.acknowledgment = (end.sequence + end.length + 1) & 0xFFFFFFFF
                peer.send(self._next(peer, end.acknowledgment), flags=ACK)
            told = self.told(peer)
        return app, told

    def _next(self, peer: RawPeer, acknowledgment: int) -> int:
        return (acknowledgment - peer.initial - 1) & 0xFFFFFFFF

    def told(self, peer: RawPeer, seconds: float = 20.0) -> Told:
        """Give what the agent told of the raw peer's connection, once it is closed or after that time."""
        due = time.monotonic() + seconds
        while True:
            found = [
                each for each in self.agent.watch.told.values() if each.opened.initiator.port == peer.own_port
            ]
            if (found and found[-1].closed is not None) or time.monotonic() > due:
                return found[-1]
            time.sleep(0.005)  # another thread fills it


def delivered(told: Told, direction: Direction = Direction.TO_RESPONDER) -> bytes:
    """Give the bytes that the layer got, a gap as a question mark for each byte."""
    return b"".join(getattr(each, "payload", None) or b"?" * each.length for each in told.streams[direction])


@contextlib.contextmanager
def stage() -> Iterator[Stage]:
    """Set the stage, and clear it away."""
    with namespaces() as made:
        introduce(made)
        listener = made.run_in(
            made.target,
            lambda: socket.create_server(("", APP_PORT), family=socket.AF_INET6, dualstack_ipv6=True),
        )
        listener.settimeout(20)
        ready: list[Mirrored] = []
        begun, over = threading.Event(), asyncio.Event()

        async def run() -> None:
            async with mirrored(made) as agent:
                ready.append(agent)
                begun.set()
                await over.wait()
                await agent.finish()

        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
        thread.start()
        assert begun.wait(20), "the agent did not start"
        try:
            yield Stage(made, listener, loop, ready[0])
        finally:
            loop.call_soon_threadsafe(over.set)
            thread.join()
            loop.close()
            listener.close()
