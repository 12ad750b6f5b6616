"""Real TCP over a router with a small MTU behind it: without path MTU discovery, large segments arrive in fragments."""

import asyncio
import contextlib
import socket
import subprocess
import uuid
from collections.abc import Iterator

import pytest

from podmirror_wire.values import Direction
from tests.namespaces import Namespace, Namespaces, empty_namespaces, ip, why_not
from tests.transfers import APP_PORT, Sent, Watch, converse, mirrored, serving

pytestmark = [
    pytest.mark.namespaces,
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]

BODY_BYTES = 4 << 20
SMALL_MTU = 576
_IP_MTU_DISCOVER, _IP_PMTUDISC_DONT = 10, 0  # linux/in.h


@contextlib.contextmanager
def routed() -> Iterator[Namespaces]:
    """Put a router between client (10.125.1.2) and target (10.125.2.2), with a small MTU on its way to the target alone."""
    router = Namespace(f"podmirror-router-{uuid.uuid4().hex[:8]}")
    with empty_namespaces() as made:
        try:
            ip("netns", "add", router.name)
            for number, (namespace, name) in enumerate(((made.client, "client"), (made.target, "target")), 1):
                peer = ("peer", "name", name, "netns", router.name)
                ip("link", "add", "eth0", "netns", namespace.name, "type", "veth", *peer)
                for inside, device, host in ((namespace, "eth0", 2), (router, name, 1)):
                    ip("-n", inside.name, "address", "add", f"10.125.{number}.{host}/24", "dev", device)
                    ip("-n", inside.name, "link", "set", device, "up")
                ip("-n", namespace.name, "route", "add", "default", "via", f"10.125.{number}.1")
            ip("-n", router.name, "link", "set", "target", "mtu", str(SMALL_MTU))
            forward = ["sysctl", "-qw", "net.ipv4.ip_forward=1"]
            subprocess.run(made.command(router, *forward), check=True)
            yield made
        finally:
            subprocess.run(["ip", "netns", "delete", router.name], capture_output=True, check=False)


def send_fragmented(made: Namespaces, sent: Sent, watch: Watch) -> None:
    with made.run_in(made.client, lambda: socket.socket(socket.AF_INET)) as connection:
        connection.settimeout(30)
        connection.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DONT)
        connection.connect(("10.125.2.2", APP_PORT))
        converse(connection, sent, watch=watch)


async def test_segments_in_fragments() -> None:
    sent = Sent.planned(11, BODY_BYTES, answer=1 << 20)
    with routed() as made, serving(made):
        async with mirrored(made) as agent:
            await asyncio.to_thread(send_fragmented, made, sent, agent.watch)
            await agent.watch.until_closed(1)
            await agent.finish()

    assert sent.received == sent.whole_answer
    assert agent.counts["fragments"] > BODY_BYTES // SMALL_MTU
    told = agent.watch.of(sent)
    told.check_whole(Direction.TO_RESPONDER, sent.body)
    told.check_whole(Direction.TO_INITIATOR, sent.whole_answer)
    agent.check_lossless()
