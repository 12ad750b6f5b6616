"""Captures made while an agent watched: tshark's reassembly of the file, ours, and what the agent delivered live are the same.

Where tshark and the kernel's TCP differ, which is where segments overlap with other contents, the kernel counts; no such
segments are in these captures (tests/test_overlap_policy.py has them).
"""

import asyncio
import itertools
import random
import shutil
from pathlib import Path

import pytest

from podmirror_agent.budget import Budget
from podmirror_agent.connections import ConnectionEvent, Connections
from podmirror_agent.packet import Way
from podmirror_agent.segment import Segment, decode
from podmirror_wire.frames import Data, Gap, Omitted, Opened
from podmirror_wire.values import Direction, Endpoint
from tests.namespaces import CLIENT_V4, TARGET_ADDRESSES, why_not
from tests.tcpdumps import Dump, from_target, tcpdumps
from tests.transfers import APP_PORT, LARGE_RING, Sent, Told, mirrored, send, serving
from tests.wires import Roughness, rough_pair
from tests.wireshark import connections_of

pytestmark = [
    pytest.mark.namespaces,
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.skipif(shutil.which("tcpdump") is None, reason="tcpdump is not installed"),
    pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed"),
]

CONNECTIONS, CONCURRENCY = 80, 8
Streams = dict[Endpoint, tuple[bytes, bytes]]
"""Both directions' bytes, by the initiator."""


def packets_of(file: Path) -> list[bytes]:
    from scapy.utils import RawPcapReader  # scapy takes a second to import

    with RawPcapReader(str(file)) as reader:
        return [packet for packet, _ in reader]


def rebuild(packets: list[bytes]) -> tuple[Streams, set[Endpoint]]:
    """Reassemble a capture: the streams, and the initiators of connections with a gap or without a beginning."""
    connections = Connections(Budget(64 << 20))
    connections.subscribe(frozenset({APP_PORT}))
    events: list[ConnectionEvent] = []
    for number, packet in enumerate(packets):
        segment = decode(memoryview(packet), len(packet))
        if isinstance(segment, Segment):
            events += connections.receive_segment(segment, Way.EITHER, (1, "file"), number, 0.0)
    told: dict[int, Told] = {}
    for event in events:
        if isinstance(event, Opened):
            told[event.connection] = Told(event)
        elif isinstance(event, Data | Gap | Omitted):
            told[event.connection].streams[event.direction].append(event)
    damaged = {
        each.opened.initiator
        for each in told.values()
        if each.opened.late or any(each.gap_bytes_of(direction) for direction in Direction)
    }
    return {each.opened.initiator: streams_of(each) for each in told.values()}, damaged


def streams_of(told: Told) -> tuple[bytes, bytes]:
    first, second = (
        b"".join(each.payload for each in stream if isinstance(each, Data)) for stream in told.streams
    )
    return first, second


def wireshark_streams(file: Path) -> Streams:
    """Let tshark rebuild the connections."""
    streams: Streams = {}
    for said in itertools.chain(*connections_of(str(file)).values()):
        initiator, responder = sorted(said, key=lambda end: end.endswith(f":{APP_PORT}"))
        address, _, port = initiator.rpartition(":")
        streams[Endpoint(address.strip("[]"), int(port))] = said[initiator], said[responder]
    return streams


@pytest.mark.parametrize("offload", [True, False], ids=["offloads on", "offloads off"])
@pytest.mark.parametrize("seed", [1, 2])
async def test_tshark_the_core_and_the_agent_agree(tmp_path: Path, offload: bool, seed: int) -> None:
    chance = random.Random(seed)
    plan = [
        Sent.planned(
            chance.getrandbits(60),
            chance.choice((16, 100, 3000, 40_000)),
            chance.choice((0, 1, 5000, 60_000)),
        )
        for _ in range(CONNECTIONS)
    ]
    rough = Roughness(loss=0.03, repeat=0.03, reorder=0.1, delay=0.0005)
    file = tmp_path / "rough.pcap"
    with (
        rough_pair(offload=offload, to_target=rough, to_client=rough, seed=seed) as (made, relay),
        serving(made),
    ):
        turn = asyncio.Semaphore(CONCURRENCY)

        async def send_in_turn(number: int, sent: Sent) -> None:
            async with turn:
                await asyncio.to_thread(send, made, TARGET_ADDRESSES[number % 2], sent, watch=agent.watch)

        async with mirrored(made, *LARGE_RING) as agent:
            with tcpdumps(made, Dump(file, from_target(made, CLIENT_V4), expression="tcp")):
                async with asyncio.TaskGroup() as group:
                    for number, sent in enumerate(plan):
                        group.create_task(send_in_turn(number, sent))
                await agent.watch.until_closed(CONNECTIONS)
            await agent.finish()
        relay.stop()
    ours, damaged = rebuild(packets_of(file))
    theirs = wireshark_streams(file)

    assert min(relay.counts[what] for what in ("lost", "repeated", "reordered")) > 0
    assert damaged == set()
    agent.check_lossless()
    for sent in plan:
        truth = (sent.body, sent.whole_answer)
        assert sent.received == sent.whole_answer
        assert streams_of(agent.watch.of(sent)) == truth
        assert ours[sent.end] == truth
        assert theirs[sent.end] == truth
