"""The agent's I/O over real sockets on loopback, with a packet source of the test's own."""

import asyncio
import contextlib
import logging
import socket
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from podmirror_agent import server as server_module
from podmirror_agent.budget import Budget
from podmirror_agent.mirror import Mirror
from podmirror_agent.packet import Way
from podmirror_agent.server import MAX_CONVERSATIONS, Server, bind_first_free
from podmirror_wire.codec import HEADER
from podmirror_wire.errors import AuthenticationFailed
from podmirror_wire.frames import (
    PROTOCOL_VERSION,
    Accepted,
    Authenticate,
    Closed,
    Credit,
    Data,
    Goodbye,
    Greeting,
    Hello,
    Ledger,
    Opened,
    Options,
    Ping,
    Pong,
    Proof,
    Refused,
    Resume,
    Subscribe,
    Subscribed,
    Unsubscribe,
)
from podmirror_wire.handshake import new_secret, verifier_of
from podmirror_wire.values import CloseReason, Direction
from podmirror_wire.version import __version__
from tests.agent import ending, packets
from tests.agent.conversation import DEADLINE_SECONDS, FakeSource, TestLayer
from tests.agent.packets import Talk

SECRET = new_secret()
NEVER = 1000.0
"""Seconds: a test that waits for this fails by its time-out."""

SOON = 0.2

ROOT = Path(__file__).parents[2]


class Agent:
    """A running server."""

    def __init__(self, listener: socket.socket, ttl: float, max_age: float) -> None:
        self.source = FakeSource()
        self.port = listener.getsockname()[1]
        self.mirror = Mirror(Budget(64 << 20))
        self.server = Server(self.source, self.mirror, verifier_of(SECRET), ttl=ttl, max_age=max_age)
        self.task = asyncio.create_task(self.server.serve(listener), name="agent")

    async def end(self) -> str:
        """Wait for its end, and give the reason."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self.task

    async def layer(self, **options: object) -> TestLayer:
        layer = await TestLayer.connect(self.port, **options)
        await layer.authenticate(SECRET)
        return layer

    def put(self, *segments: object) -> None:
        self.source.put(
            *(
                packets.captured(each, Way.OUTGOING if each.source == bytes((10, 0, 0, 2)) else Way.INCOMING)
                for each in segments
            )
        )


def listening(**options: int) -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0))
    for name, value in options.items():
        listener.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
    return listener


@contextlib.asynccontextmanager
async def running(ttl: float = NEVER, max_age: float = NEVER, **options: int) -> AsyncIterator[Agent]:
    agent = Agent(listening(**options), ttl, max_age)
    try:
        yield agent
    finally:
        if not agent.task.done():
            agent.server.stop("the test is over")
            await agent.end()


# The handshake.


async def test_layer_is_greeted_and_accepted():
    async with running() as agent, await TestLayer.connect(agent.port) as layer:
        before = time.time_ns()
        accepted = await layer.authenticate(SECRET)

        assert [type(frame) for frame in layer.received] == [Greeting, Proof, Accepted]
        assert before <= accepted.pod_time <= time.time_ns()
        assert len(accepted.session) == 16


async def test_wrong_secret_is_refused():
    async with running() as agent, await TestLayer.connect(agent.port) as layer:
        layer.send(Hello(PROTOCOL_VERSION, bytes(16), __version__), Authenticate(new_secret()))

        *_, refused = await layer.receive_all()

        assert isinstance(refused, Refused)
        assert "secret" in refused.reason
        assert agent.source.ports == []
        assert not agent.task.done()


async def test_layer_does_not_tell_its_secret_to_an_agent_of_another_session():
    async with running() as agent, await TestLayer.connect(agent.port) as layer:
        with pytest.raises(AuthenticationFailed):
            await layer.authenticate(new_secret())


async def test_other_protocol_is_refused_with_the_reason():
    async with running() as agent, await TestLayer.connect(agent.port) as layer:
        layer.send(Hello(PROTOCOL_VERSION + 1, bytes(16), "9.9.9"))

        assert (await layer.receive_all())[1:] == [
            Refused(0, f"this agent ({__version__}) speaks protocol 1, the layer (9.9.9) speaks 2")
        ]


@pytest.mark.parametrize(
    "noise",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", id="HTTP"),
        pytest.param(bytes(5), id="an empty frame"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS"),
        pytest.param(HEADER.pack(2, Authenticate.KIND) + b"x", id="a malformed frame"),
        pytest.param(Subscribe(1, 80).encode(), id="a frame without a handshake"),
    ],
)
async def test_stranger_is_refused_and_let_go(noise):
    async with running() as agent, await TestLayer.connect(agent.port) as layer:
        layer.writer.write(noise)

        frames = await layer.receive_all()

        assert isinstance(frames[0], Greeting)
        assert isinstance(frames[-1], Refused)
        assert agent.source.ports == []
        assert not agent.task.done()


async def test_peer_that_never_authenticates_is_let_go(monkeypatch):
    monkeypatch.setattr(server_module, "HANDSHAKE_SECONDS", 0.05)
    async with running() as agent, await TestLayer.connect(agent.port) as layer:
        assert len(await layer.receive_all()) == 1
        assert not agent.task.done()


async def test_peer_that_leaves_during_the_handshake_harms_nobody():
    async with running() as agent:
        layer = await TestLayer.connect(agent.port)
        await layer.receive(Greeting)
        await layer.leave()

        async with await agent.layer() as layer:
            await layer.subscribe(80)


async def test_handshake_may_arrive_byte_by_byte():
    async with running() as agent, await TestLayer.connect(agent.port) as layer:
        frames = (Hello(PROTOCOL_VERSION, bytes(16), __version__), Authenticate(SECRET), Subscribe(1, 80))
        for byte in b"".join(frame.encode() for frame in frames):
            layer.writer.write(bytes((byte,)))
            await layer.writer.drain()
        await layer.receive(Subscribed)


@pytest.mark.parametrize("window", [{}, {"window": "1000"}], ids=["without options", "with a window"])
async def test_layer_may_ask_before_it_knows_that_it_is_accepted(window):
    async with running() as agent, await TestLayer.connect(agent.port) as layer:
        layer.send(
            Hello(PROTOCOL_VERSION, bytes(16), __version__),
            Authenticate(SECRET),
            *([Options(window)] if window else []),
            Subscribe(1, 80),
        )
        await layer.receive(Subscribed)

        assert [type(frame) for frame in layer.received] == [Greeting, Proof, Accepted, Subscribed]


async def test_only_so_many_conversations_at_a_time():
    async with running() as agent, contextlib.AsyncExitStack() as stack:
        for _ in range(MAX_CONVERSATIONS):
            layer = await stack.enter_async_context(await TestLayer.connect(agent.port))
            await layer.receive(Greeting)
        one_more = await stack.enter_async_context(await TestLayer.connect(agent.port))

        assert await one_more.receive_all() == []


# Mirroring.


async def test_packets_reach_the_layer():
    talk = Talk()
    async with running() as agent, await agent.layer() as layer:
        await layer.subscribe(80)
        agent.put(*talk.handshake(), talk.says(b"GET /"))

        assert (await layer.receive(Opened)).interface == "eth0"
        assert await layer.receive(Data) == Data(1, Direction.TO_RESPONDER, 0, b"GET /")


async def test_subscription_is_acknowledged_after_the_filter_was_set():
    async with running() as agent, await agent.layer() as layer:
        assert agent.source.ports == []
        before = time.time_ns()
        for request, (port, ports) in enumerate([(80, {80}), (8080, {80, 8080})], 1):
            subscribed = await layer.subscribe(port, request)

            assert agent.source.ports[-1] == ports
            assert subscribed.request == request
            assert before <= subscribed.pod_time <= time.time_ns()


async def test_filter_is_left_alone_where_the_ports_stay_the_same():
    async with running() as agent, await agent.layer() as first, await agent.layer() as second:
        await first.subscribe(80)
        await second.subscribe(80)
        second.send(Unsubscribe(1))
        await second.settled()

        assert agent.source.ports == [{80}]


async def test_filter_forgets_the_ports_of_a_layer_that_left():
    async with running() as agent, await agent.layer() as first:
        await first.subscribe(80)
        async with await agent.layer() as second:
            await second.subscribe(8080)
            second.send(Goodbye("done"))
            await second.receive_all()

        assert agent.source.ports == [{80}, {80, 8080}, {80}]


async def test_credit_reaches_the_mirror():
    talk = Talk()
    async with running() as agent, await agent.layer() as layer:
        layer.send(Options({"window": "2"}))
        await layer.subscribe(80)
        agent.put(*talk.handshake(), talk.says(b"hello"))
        assert (await layer.receive(Data)).payload == b"he"

        layer.send(Credit(1, 3))

        assert (await layer.receive(Data)).payload == b"llo"


async def test_ping_is_answered_with_both_clocks():
    async with running() as agent, await agent.layer() as layer:
        before = time.time_ns()
        layer.send(Ping(77, 0))

        pong = await layer.receive(Pong)

        assert pong.ping_time == 77
        assert before <= pong.time <= time.time_ns()
        handshake = (Hello(1, bytes(16), __version__), Authenticate(SECRET), Ping(77, 0))
        assert pong.received == sum(len(frame.encode()) for frame in handshake)


async def test_agent_pings_the_layer(monkeypatch):
    monkeypatch.setattr(server_module, "PING_SECONDS", 0.01)
    async with running() as agent, await agent.layer() as layer:
        await layer.receive(Ping)
        await layer.receive(Ping)


async def test_ledger_is_told_when_it_changed(monkeypatch):
    monkeypatch.setattr(server_module, "LEDGER_SECONDS", 0.01)
    talk = Talk()
    async with running() as agent:
        agent.source.dropped = 5
        async with await agent.layer() as layer:
            await layer.subscribe(80)
            first = await layer.receive(Ledger)
            agent.source.dropped = 8
            agent.put(*talk.handshake(), talk.says(b"hello"))

            ledger = first
            while ledger.counts["bytes_seen"] == 0:
                ledger = await layer.receive(Ledger)

    assert first.counts["kernel_drops"] == 0
    assert (ledger.counts["kernel_drops"], ledger.counts["connections"]) == (3, 1)


async def test_two_layers_are_served_at_a_time():
    web, admin = Talk(), Talk(server=packets.End(packets.POD, 8080, 1))
    async with running() as agent, await agent.layer() as first, await agent.layer() as second:
        await first.subscribe(80)
        await second.subscribe(8080)
        agent.put(*web.handshake(), *admin.handshake(), web.says(b"web"), admin.says(b"admin"))

        assert (await first.receive(Data)).payload == b"web"
        assert (await second.receive(Data)).payload == b"admin"


# Broken rules.


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (Resume(bytes(16), 0), "this agent keeps nothing to resume from"),
        (Options({"colour": "red"}), "this agent has no option colour=red"),
        (Hello(PROTOCOL_VERSION, bytes(16), __version__), "Hello from a layer"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_layer_that_breaks_the_rules_is_told_so(frame, reason):
    async with running() as agent, await agent.layer() as other:
        async with await agent.layer() as layer:
            layer.send(frame)

            assert Refused(0, reason) in await layer.receive_all()
        await other.settled()
        assert not agent.task.done()


async def test_option_with_an_absurd_number_does_not_end_the_agent():
    async with running() as agent, await agent.layer() as other:
        async with await agent.layer() as layer:
            layer.send(Options({"window": "9" * 5000}))

            assert any(isinstance(frame, Refused) for frame in await layer.receive_all())
        await other.settled()
        assert not agent.task.done()


async def test_layer_that_sends_noise_after_its_handshake_is_let_go():
    async with running() as agent, await agent.layer() as layer:
        layer.writer.write(bytes(100))

        assert any(isinstance(frame, Refused) for frame in await layer.receive_all())
        async with await agent.layer() as another:
            await another.settled()


# The agent's end.


async def test_agent_that_no_layer_ever_called_ends():
    async with running(ttl=0.05) as agent:
        assert await agent.end() == "no layer connected for 0.05 s"
        assert agent.source.closed


async def test_strangers_do_not_count_as_layers():
    async with running(ttl=SOON) as agent, await TestLayer.connect(agent.port) as stranger:
        await stranger.receive(Greeting)

        assert await agent.end() == f"no layer connected for {SOON} s"


async def test_goodbye_ends_the_agent_at_once():
    async with running() as agent, await agent.layer() as layer:
        layer.send(Goodbye("done here"))

        assert await agent.end() == "the layer said goodbye: done here"
        assert any(isinstance(frame, Goodbye) for frame in await layer.receive_all())
        assert agent.source.closed


async def test_goodbye_is_answered_with_what_was_ready_and_the_ledger():
    talk = Talk()
    async with running() as agent, await agent.layer() as layer:
        await layer.subscribe(80)
        agent.put(*talk.handshake(), talk.says(b"last words"))
        await layer.receive(Opened)
        layer.send(Goodbye("done"))

        frames = await layer.receive_all()

        assert [type(frame) for frame in frames if not isinstance(frame, Closed)] == [Data, Ledger, Goodbye]
        assert frames[-2].counts["bytes_seen"] == 10


async def test_goodbye_of_one_layer_does_not_end_the_other():
    async with running() as agent, await agent.layer() as stays:
        async with await agent.layer() as leaves:
            leaves.send(Goodbye("done"))
            await leaves.receive_all()
        await stays.settled()

        stays.send(Goodbye("done, too"))
        assert await agent.end() == "the layer said goodbye: done, too"


async def test_lost_layer_is_waited_for():
    async with running(ttl=SOON) as agent:
        async with await agent.layer() as layer:
            await layer.subscribe(80)
        lost = time.monotonic()

        assert await agent.end() == f"the layer was lost, and none came back for {SOON} s"
        assert time.monotonic() - lost >= SOON * 0.9
        assert agent.source.ports == [{80}, frozenset()]


async def test_layer_that_resets_its_connection_is_lost():
    async with running(ttl=SOON) as agent:
        layer = await agent.layer()
        layer.writer.transport.abort()

        assert await agent.end() == f"the layer was lost, and none came back for {SOON} s"


async def test_layer_that_comes_back_keeps_the_agent():
    async with running(ttl=SOON) as agent:
        async with await agent.layer():
            pass
        async with await agent.layer() as again:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(2 * SOON):
                    await asyncio.shield(agent.task)
            await again.settled()


async def test_connected_layer_keeps_the_agent():
    async with running(ttl=0.05) as agent, await agent.layer() as layer:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await asyncio.shield(agent.task)
        await layer.settled()


async def test_silent_layer_is_lost(monkeypatch):
    monkeypatch.setattr(server_module, "SILENCE_SECONDS", 0.05)
    async with running(ttl=0.05) as agent, await agent.layer():
        assert await agent.end() == "the layer was lost, and none came back for 0.05 s"


async def test_maximum_age_ends_the_agent_whatever_happens():
    async with running(max_age=0.3) as agent, await agent.layer() as layer:
        await layer.settled()

        assert await agent.end() == "the maximum age of 0.3 s was reached"
        assert any(isinstance(frame, Goodbye) for frame in await layer.receive_all())


async def test_stop_tells_the_layers():
    talk = Talk()
    async with running() as agent, await agent.layer() as first, await agent.layer() as second:
        for layer in (first, second):
            await layer.subscribe(80)
        agent.put(*talk.handshake())
        for layer in (first, second):
            await layer.receive(Opened)

        agent.server.stop("asked to")
        agent.server.stop("asked to again")

        assert await agent.end() == "asked to"
        for layer in (first, second):
            frames = await layer.receive_all()
            assert Closed(1, CloseReason.AGENT_ENDED, 0) in frames
            assert isinstance(frames[-1], Goodbye)


async def test_end_with_layers_is_no_error(caplog):
    async with running() as agent, await agent.layer() as layer:
        await layer.settled()
        agent.server.stop("asked to")
        await agent.end()
        await layer.receive_all()

    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_stop_frees_the_port():
    async with running() as agent:
        async with await agent.layer() as layer:
            await layer.settled()
        agent.server.stop("asked to")
        await agent.end()

        with pytest.raises(ConnectionError):
            await TestLayer.connect(agent.port)


async def test_fault_in_the_capture_ends_the_agent_with_that_fault():
    class Fault(Exception):
        pass

    def read_packets() -> None:
        raise Fault

    async with running() as agent:
        agent.source.read_packets = read_packets
        agent.source.put()

        with pytest.raises(Fault):
            await agent.end()


# Layers that do not read.

SMALL = 16 * 1024


async def connected_with_little_room(port: int) -> socket.socket:
    near = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    near.setblocking(False)
    await asyncio.get_running_loop().sock_connect(near, ("127.0.0.1", port))
    return near


async def stuck_layer(agent: Agent) -> TestLayer:
    """A layer with far more on its way than its sockets hold, which it does not read."""
    near = await connected_with_little_room(agent.port)
    layer = TestLayer(*await asyncio.open_connection(sock=near, limit=1024))
    await layer.authenticate(SECRET)
    layer.send(Options({"window": str(32 << 20)}))
    await layer.subscribe(80)
    layer.writer.transport.pause_reading()
    talk = Talk()
    agent.put(*talk.handshake(), *(talk.says(bytes(50_000)) for _ in range(40)))
    return layer


async def test_layer_that_does_not_read_does_not_stall_another():
    async with running(SO_SNDBUF=SMALL) as agent, await stuck_layer(agent), await agent.layer() as other:
        await other.settled()


async def test_layer_that_does_not_read_delays_the_end_by_no_more_than_the_farewell():
    async with running(SO_SNDBUF=SMALL) as agent, await stuck_layer(agent):
        begun = time.monotonic()
        agent.server.stop("asked to")

        assert await agent.end() == "asked to"
        assert time.monotonic() - begun < 1.0


async def test_goodbye_of_a_layer_that_does_not_read_ends_the_agent_too():
    async with running(SO_SNDBUF=SMALL) as agent, await stuck_layer(agent) as stuck:
        stuck.send(Goodbye("done, and reading no more"))

        ended, _ = await asyncio.wait({agent.task}, timeout=2)

        assert ended
        assert agent.task.result() == "the layer said goodbye: done, and reading no more"


async def test_layer_that_does_not_read_keeps_no_goodbye_from_another():
    async with running(SO_SNDBUF=SMALL) as agent, contextlib.AsyncExitStack() as stack:
        for _ in range(8):
            await stack.enter_async_context(await stuck_layer(agent))
        other = await stack.enter_async_context(await agent.layer())

        agent.server.stop("asked to")

        await agent.end()
        assert any(isinstance(frame, Goodbye) for frame in await other.receive_all())


async def test_goodbye_reaches_a_layer_that_is_behind():
    """In a process of its own, as the program is: what its event loop has not sent when it ends is lost."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.agent.ending", SECRET.hex(), cwd=ROOT, stdin=PIPE, stdout=PIPE
    )
    try:
        port = int(await process.stdout.readline())
        near = await connected_with_little_room(port)
        async with TestLayer(*await asyncio.open_connection(sock=near, limit=1024)) as layer:
            await layer.authenticate(SECRET)
            await layer.subscribe(80)
            layer.writer.transport.pause_reading()
            assert await process.stdout.readline() == b"packets were read\n"
            process.stdin.write(b"stop\n")
            layer.writer.transport.resume_reading()

            frames = await layer.receive_all()
        await process.wait()
    finally:
        process.stdin.close()
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert sum(len(frame.payload) for frame in frames if isinstance(frame, Data)) == ending.BYTES
    assert isinstance(frames[-1], Goodbye)


# The port.


def test_first_free_port_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        candidates = [taken.getsockname()[1], free.getsockname()[1]]
        free.close()

        with bind_first_free(candidates) as listener:
            assert listener.getsockname() == ("127.0.0.1", candidates[1])
            with socket.create_connection(listener.getsockname(), timeout=DEADLINE_SECONDS):
                pass


def test_all_ports_taken():
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        ports = [first.getsockname()[1], second.getsockname()[1]]

        with pytest.raises(OSError, match=f"none of the ports {ports[0]}, {ports[1]} is free on 127.0.0.1"):
            bind_first_free(ports)


def test_port_is_free_again_right_after_a_connection():
    """The next agent takes the port of one that has just ended."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        with socket.create_connection(address, timeout=DEADLINE_SECONDS) as near:
            far, _ = listener.accept()
            far.close()  # the listening side closes first, so TIME_WAIT stays with it
            assert near.recv(1) == b""

    with bind_first_free([address[1]]):
        pass
