"""The agent's I/O over real sockets on loopback: mirroring, broken rules, and the port that it takes."""

import asyncio
import socket
import time

import pytest

from podmirror_agent import conversation
from podmirror_agent import server as server_module
from podmirror_agent.connections import SILENCE_SECONDS
from podmirror_agent.server import bind_first_free
from podmirror_wire.frames import (
    PROTOCOL_VERSION,
    Credit,
    Data,
    Examine,
    Findings,
    Goodbye,
    Hello,
    Ledger,
    Opened,
    Options,
    Ping,
    Pong,
    Refused,
    Subscribe,
    Unsubscribe,
)
from podmirror_wire.values import Direction
from podmirror_wire.version import __version__
from tests.agent import packets
from tests.agent.conversation import DEADLINE_SECONDS
from tests.agent.packets import Talk
from tests.agent.serving import FINDINGS, running

# Mirroring.


async def test_packets_reach_the_layer():
    talk = Talk()
    async with running() as agent, await agent.layer() as layer:
        await layer.subscribe(80)
        agent.put(*talk.handshake(), talk.says(b"GET /"))

        assert (await layer.receive(Opened)).interface == "eth0"
        assert await layer.receive(Data) == Data(1, Direction.TO_RESPONDER, 0, b"GET /")


async def test_an_agent_that_is_examined_tells_of_itself():
    async with running() as agent, await agent.layer() as layer:
        layer.send(Examine(3))

        assert await layer.receive(Findings) == Findings(3, FINDINGS)


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
        assert pong.received == len(Ping(77, 0).encode())


async def test_agent_pings_the_layer(monkeypatch):
    monkeypatch.setattr(conversation, "PING_SECONDS", 0.01)
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
        (
            Options({"colour": "red"}),
            "this agent has no option colour, or not with the value that was asked for",
        ),
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


async def test_subscription_is_refused_over_a_filter_that_libpcap_does_not_take():
    async with running() as agent, await agent.layer() as layer:
        layer.send(Options({"filter": "nonsense"}), Subscribe(7, 80))

        refused = await layer.receive(Refused)

        assert refused == Refused(7, "the filter 'nonsense' is not understood: syntax error")
        assert not agent.source.ports


async def test_silence_is_judged_when_what_waits_was_read(monkeypatch):
    """An agent that was starved or stopped finds packets in the ring that show that a connection goes on."""
    monkeypatch.setattr(server_module, "LEDGER_SECONDS", 0.05)
    talk = Talk()
    async with running() as agent, await agent.layer() as layer:
        await layer.subscribe(80)
        agent.source.behind = SILENCE_SECONDS * 3
        agent.put(*talk.handshake(), talk.says(b"a"), talk.reset(sequence=talk.client.next + 9))
        await layer.receive(Data)
        await asyncio.sleep(SILENCE_SECONDS + 0.3)
        agent.put(talk.server_ack(), talk.says(b"goes on"))

        assert await layer.receive(Data) == Data(1, Direction.TO_RESPONDER, 1, b"goes on")
