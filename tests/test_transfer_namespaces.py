"""Large bodies through real network namespaces arrive byte for byte, whatever lies between client and pod.

With the network cards' offloads on and off, over IPv4 and IPv6, through wires that lose, repeat, delay and reorder packets
before or behind the agent's packet socket, and with VLAN tags.
"""

import asyncio
import contextlib
import hashlib
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from podmirror.delivery import Delivery
from podmirror.ledger import LayerLedger
from podmirror_wire.values import CloseReason, Direction
from tests.namespaces import (
    TARGET_V4,
    TARGET_V6,
    Namespace,
    Namespaces,
    empty_namespaces,
    ip,
    namespaces,
    why_not,
)
from tests.transfers import APP_PORT, LARGE_RING, Mirrored, Sent, mirrored, serving, transfer
from tests.wires import CUSTOMER_TAG, SERVICE_TAG, Roughness, Tag, rough_pair, tagged_pair

pytestmark = [
    pytest.mark.namespaces,
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]

BODY_BYTES = 64 << 20
ROUGH_BYTES = 16 << 20

families = pytest.mark.parametrize("address", [TARGET_V4, TARGET_V6], ids=["IPv4", "IPv6"])
offloads = pytest.mark.parametrize("offload", [True, False], ids=["offloads on", "offloads off"])

ROUGH = Roughness(loss=0.02, repeat=0.02, reorder=0.1, delay=0.001)


@pytest.fixture
def made() -> Iterator[Namespaces]:
    with namespaces() as pair:
        yield pair


def set_offloads(namespace: Namespace, *switches: str) -> None:
    command = ["ip", "netns", "exec", namespace.name, "ethtool", "-K", "eth0", *switches]
    subprocess.run(command, capture_output=True, check=True)


async def check_transfer(made: Namespaces, address: str, sent: list[Sent]) -> Mirrored:
    """Send it all, have it delivered to a local process, and see that nothing is missing anywhere."""
    arrived: set[bytes] = set()
    connections: list[asyncio.StreamWriter] = []
    complete = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        digest = hashlib.sha256()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 20):
                digest.update(data)
            arrived.add(digest.digest())
        writer.close()
        connections.append(writer)
        if len(connections) == len(sent):
            complete.set()

    ledger = LayerLedger()
    with serving(made):
        async with (
            await asyncio.start_server(serve, "127.0.0.1", 0, backlog=256) as local,
            mirrored(made, *LARGE_RING) as agent,
        ):
            delivery = Delivery(ledger, agent.link.give_credit)
            delivery.map_port(APP_PORT, local.sockets[0].getsockname()[1])
            agent.watch.receiver = delivery.receive_frame
            await transfer(made, address, sent, watch=agent.watch)
            await agent.watch.until_closed(len(sent))
            async with asyncio.timeout(60):
                await complete.wait()
            await agent.finish()
            await delivery.finish(5)
    for each in sent:
        told = agent.watch.of(each)
        told.check_whole(Direction.TO_RESPONDER, each.body)
        told.check_whole(Direction.TO_INITIATOR, each.whole_answer)
        assert told.closed is not None
        assert told.closed.reason is CloseReason.FINISHED
    assert arrived == {hashlib.sha256(each.body).digest() for each in sent}
    assert ledger.lost == 0
    assert ledger.complete == len(sent)
    assert ledger.missing_bytes == ledger.undelivered_bytes == 0
    agent.check_lossless()
    return agent


@offloads
@families
@pytest.mark.skipif(shutil.which("ethtool") is None, reason="ethtool is not installed")
async def test_large_bodies(made: Namespaces, address: str, offload: bool) -> None:
    switch = "on" if offload else "off"
    for namespace in (made.target, made.client):
        set_offloads(namespace, "tso", switch, "gso", switch, "gro", switch, "tx", switch, "rx", switch)

    await check_transfer(made, address, [Sent.planned(1, BODY_BYTES, answer=8 << 20)])


@offloads
@families
async def test_a_wire_that_loses_repeats_and_reorders_on_both_ways(address: str, offload: bool) -> None:
    with rough_pair(offload=offload, to_target=ROUGH, to_client=ROUGH, seed=3) as (made, relay):
        sent = [Sent.planned(seed, ROUGH_BYTES // 4, answer=ROUGH_BYTES // 4) for seed in range(4)]
        await check_transfer(made, address, sent)
        relay.stop()

    assert min(relay.counts[what] for what in ("lost", "repeated", "reordered")) > 0


@families
@pytest.mark.parametrize(
    "tags",
    [
        [Tag(CUSTOMER_TAG, 5)],
        [Tag(SERVICE_TAG, 7), Tag(CUSTOMER_TAG, 5)],
        [Tag(CUSTOMER_TAG, 6), Tag(CUSTOMER_TAG, 5)],
    ],
    ids=["802.1Q", "802.1ad", "two of 802.1Q"],
)
async def test_tagged_frames(made: Namespaces, address: str, tags: list[Tag]) -> None:
    """The kernel strips the outer tag of what comes in; what goes out has all tags in the packet."""
    with tagged_pair(made, tags) as relay:
        await check_transfer(made, address, [Sent.planned(2, ROUGH_BYTES, answer=ROUGH_BYTES)])
        relay.stop()

    assert relay.counts["carried"] > 100


@offloads
async def test_frames_that_are_lost_behind_the_agent(made: Namespaces, offload: bool) -> None:
    """The agent sees a packet whenever the wire brings it, but the app's kernel gets it late, twice, or never."""
    with tagged_pair(made, [Tag(CUSTOMER_TAG, 5)], offload=offload, inside=ROUGH, seed=4) as relay:
        sent = [Sent.planned(seed, ROUGH_BYTES // 4, answer=ROUGH_BYTES // 4) for seed in range(4)]
        await check_transfer(made, TARGET_V4, sent)
        relay.stop()

    assert min(relay.counts[what] for what in ("lost", "repeated", "reordered")) > 0


def kernel_has_vlans() -> bool:
    if why_not():
        return False
    with empty_namespaces() as made:
        try:
            ip("-n", made.target.name, "link", "add", "link", "lo", "name", "lo.5", "type", "vlan", "id", "5")
        except RuntimeError:
            return False
    return True


@pytest.mark.skipif(not kernel_has_vlans(), reason="the kernel has no VLAN interfaces (8021q)")
@pytest.mark.parametrize("stripped", ["on", "off"])
async def test_a_vlan_interface_of_the_kernel(made: Namespaces, stripped: str) -> None:
    for number, namespace in enumerate((made.target, made.client), 1):
        inside = ("-n", namespace.name)
        set_offloads(namespace, "rxvlan", stripped, "txvlan", stripped)
        ip(*inside, "link", "add", "link", "eth0", "name", "eth0.5", "type", "vlan", "id", "5")
        ip(*inside, "address", "add", f"10.124.0.{number}/24", "dev", "eth0.5")
        ip(*inside, "link", "set", "eth0.5", "up")

    await check_transfer(made, "10.124.0.1", [Sent.planned(6, ROUGH_BYTES, answer=ROUGH_BYTES)])
