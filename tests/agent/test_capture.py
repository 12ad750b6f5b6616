"""The packet socket in real network namespaces.

Nothing here waits for a time to pass. Where a test shows that something is *not* captured, it sends a marker afterwards, whose
capture shows that all that went before had its chance.
"""

import contextlib
import re
import select
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from podmirror_agent.capture import BLOCK_BYTES, RING_MEBIBYTES, Capture
from podmirror_agent.mirror import Interest
from podmirror_agent.packet import Way
from podmirror_agent.segment import ACK, SYN, Segment, decode
from tests.agent.recorder import Recorder
from tests.namespaces import CLIENT_ADDRESSES, TARGET_ADDRESSES, Namespace, Namespaces

pytestmark = pytest.mark.namespaces

CONTROL = 47_000
PORT, OTHER_PORT, MARKER_PORT = 8080, 8081, 8099
DEADLINE_SECONDS = 10.0

FAMILIES = pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])


class Seen(NamedTuple):
    """A packet, decoded, with all that the capture said of it."""

    segment: Segment
    way: Way
    interface: tuple[int, str]
    pod_time: int
    captured: int
    wire_length: int

    @property
    def ports(self) -> set[int]:
        return {self.segment.source_port, self.segment.destination_port}


DEFAULT_BLOCKS = (RING_MEBIBYTES << 20) // BLOCK_BYTES


class Pod:
    """The pod's side: a capture in its namespace, and what it has seen so far.

    A block is closed a millisecond after its first packet, however little it holds; so a ring of fewer blocks than an
    exchange has packets might lose some of them.
    """

    def __init__(self, namespace: Namespace, blocks: int = DEFAULT_BLOCKS) -> None:
        self.namespace = namespace
        with namespace.entered():
            self.capture = Capture(CONTROL, blocks=blocks)
        self.seen: list[Seen] = []

    def watch(self, *ports: int, responder_bytes: bool = True) -> None:
        self.capture.set_interest(Interest(frozenset(ports), responder_bytes))

    def read(self) -> None:
        with self.namespace.entered():  # interfaces are named as they are first seen
            recorder = Recorder()
            for _ in self.capture.read_into(recorder, time.monotonic()):
                for packet, wire_length, way, interface, pod_time, *_ in recorder.packets:
                    segment = decode(packet, wire_length)
                    if isinstance(segment, Segment):  # IPv6 extension headers pass unseen: ICMPv6 has some
                        self.seen.append(Seen(segment, way, interface, pod_time, len(packet), wire_length))
                recorder.packets.clear()

    def read_until(self, enough: Callable[[list[Seen]], bool]) -> list[Seen]:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not enough(self.seen):
            left = deadline - time.monotonic()
            assert left > 0, f"not seen in time, only {self.seen}"
            select.select([self.capture], [], [], left)
            self.read()
        return self.seen


@pytest.fixture
def pod(wire: Namespaces) -> Iterator[Pod]:
    pod = Pod(wire.target)
    yield pod
    pod.capture.close()


def exchange(
    client: Namespace,
    server: Namespace,
    address: str,
    port: int,
    payload: bytes = b"hello",
    answer: bytes = b"world",
    source: tuple[str, int] | None = None,
) -> None:
    """Connect, send, get an answer, and close on both ends."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.ExitStack() as stack:
        with server.entered():
            listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen()
        with client.entered():
            near = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        for each in (listener, near):
            each.settimeout(DEADLINE_SECONDS)
        if source is not None:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            near.bind(source)
        near.connect((address, port))
        far = stack.enter_context(listener.accept()[0])
        far.settimeout(DEADLINE_SECONDS)
        send_all(near, far, payload)
        send_all(far, near, answer)


def send_all(sender: socket.socket, receiver: socket.socket, payload: bytes) -> None:
    """Carry `payload` from one socket to the other in one thread."""
    sent = received = 0
    while received < len(payload):
        if sent < len(payload):
            sent += sender.send(payload[sent : sent + 65_536])
        received += len(receiver.recv(1 << 20))


def with_payload(*payloads: bytes) -> Callable[[list[Seen]], bool]:
    return lambda seen: set(payloads) <= {each.segment.payload for each in seen}


def with_port(port: int) -> Callable[[list[Seen]], bool]:
    return lambda seen: any(port in each.ports for each in seen)


@FAMILIES
def test_packets_of_a_subscribed_port_are_seen_both_ways(wire, pod, family):
    pod.watch(PORT)
    before = time.time_ns()
    exchange(wire.client, wire.target, TARGET_ADDRESSES[family], PORT)

    seen = pod.read_until(with_payload(b"hello", b"world"))
    after = time.time_ns()

    syn = seen[0].segment
    addresses = [
        socket.inet_pton(socket.AF_INET6 if family else socket.AF_INET, each[family])
        for each in (CLIENT_ADDRESSES, TARGET_ADDRESSES)
    ]
    assert syn.flags & (SYN | ACK) == SYN
    assert [syn.source, syn.destination] == addresses
    for each in seen:
        assert each.way is (Way.INCOMING if each.segment.destination_port == PORT else Way.OUTGOING)
        assert each.interface[1] == "eth0"
        assert before <= each.pod_time <= after
        assert each.captured == each.wire_length
    # In the order of cause and effect: packets of both ways that cross each other may be told in any order.
    question, answer = (
        next(each for each in seen if each.segment.payload == said) for said in (b"hello", b"world")
    )
    assert seen[0].pod_time < question.pod_time < answer.pod_time


def test_interface_is_given_with_its_index(wire, pod):
    pod.watch(PORT)
    exchange(wire.client, wire.target, TARGET_ADDRESSES[0], PORT)

    seen = pod.read_until(with_payload(b"hello"))

    with wire.target.entered():
        assert {each.interface for each in seen} == {(socket.if_nametoindex("eth0"), "eth0")}


def test_nothing_passes_before_ports_are_set(wire, pod):
    exchange(wire.client, wire.target, TARGET_ADDRESSES[0], PORT)
    pod.watch(PORT, MARKER_PORT)
    exchange(wire.client, wire.target, TARGET_ADDRESSES[0], MARKER_PORT, b"marker")

    seen = pod.read_until(with_payload(b"marker"))

    assert not with_payload(b"hello")(seen)


def test_calls_of_the_pod_elsewhere_take_the_opposite_ways(wire, pod):
    pod.watch(PORT)
    exchange(wire.target, wire.client, CLIENT_ADDRESSES[0], PORT)

    for each in pod.read_until(with_payload(b"hello", b"world")):
        assert each.way is (Way.OUTGOING if each.segment.destination_port == PORT else Way.INCOMING)


def test_change_of_ports_counts_from_the_next_packet_on(wire, pod):
    pod.watch(PORT)
    exchange(wire.client, wire.target, TARGET_ADDRESSES[0], PORT, b"one", b"eno")
    pod.watch(OTHER_PORT)
    exchange(wire.client, wire.target, TARGET_ADDRESSES[0], PORT, b"two", b"owt")
    exchange(wire.client, wire.target, TARGET_ADDRESSES[0], OTHER_PORT, b"three", b"eerht")

    seen = pod.read_until(with_payload(b"one", b"three"))

    assert not any(each.segment.payload in (b"two", b"owt") for each in seen)


def test_no_ports_let_nothing_pass(wire, pod):
    pod.watch(PORT)
    pod.watch()
    exchange(wire.client, wire.target, TARGET_ADDRESSES[0], PORT)
    pod.watch(MARKER_PORT)
    exchange(wire.client, wire.target, TARGET_ADDRESSES[0], MARKER_PORT, b"marker")

    assert not with_port(PORT)(pod.read_until(with_payload(b"marker")))


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_loopback_gives_each_packet_once(wire, pod, address):
    pod.watch(PORT)
    exchange(wire.target, wire.target, address, PORT)
    exchange(wire.target, wire.target, address, PORT, b"marker")

    seen = pod.read_until(with_payload(b"hello", b"world", b"marker"))

    assert {each.way for each in seen} == {Way.EITHER}
    assert {each.interface[1] for each in seen} == {"lo"}
    payloads = [each.segment.payload for each in seen if each.segment.payload]
    assert sorted(payloads) == sorted([b"hello", b"world", b"marker", b"world"][: len(payloads)])
    syns = [each for each in seen if each.segment.flags & (SYN | ACK) == SYN]
    assert len(syns) == 2


def test_super_packets_are_captured_whole(wire, pod):
    payload = bytes(range(256)) * 1200
    pod.watch(PORT)
    exchange(wire.target, wire.target, "127.0.0.1", PORT, payload)

    def complete(seen: list[Seen]) -> bool:
        return sum(each.segment.length for each in seen if each.segment.destination_port == PORT) >= len(
            payload
        )

    seen = pod.read_until(complete)

    assert b"".join(each.segment.payload for each in seen if each.segment.destination_port == PORT) == payload
    assert all(each.captured == each.wire_length for each in seen)
    assert max(each.captured for each in seen) > 9000


def test_control_connection_is_not_captured(wire, pod):
    pod.watch(PORT, CONTROL)
    exchange(wire.target, wire.target, "127.0.0.1", CONTROL)
    exchange(wire.target, wire.target, "127.0.0.1", PORT, b"marker")

    assert not with_port(CONTROL)(pod.read_until(with_payload(b"marker")))


def test_remote_client_whose_port_is_that_of_the_control_connection_is_captured(wire, pod):
    pod.watch(PORT)
    exchange(wire.client, wire.target, TARGET_ADDRESSES[0], PORT, source=(CLIENT_ADDRESSES[0], CONTROL))

    seen = pod.read_until(with_payload(b"hello", b"world"))

    assert {frozenset(each.ports) for each in seen} == {frozenset({PORT, CONTROL})}


def test_packets_that_find_the_ring_full_are_counted(wire):
    pod = Pod(wire.target, blocks=1)
    try:
        pod.watch(PORT)
        assert pod.capture.drops() == 0
        exchange(wire.client, wire.target, TARGET_ADDRESSES[0], PORT, bytes(3 * BLOCK_BYTES))

        drops = pod.capture.drops()
        assert drops > 0
        assert pod.capture.drops() >= drops, "the count goes on from where it was"
    finally:
        pod.capture.close()


def test_ring_goes_on_after_it_was_full(wire):
    pod = Pod(wire.target, blocks=16)
    try:
        pod.watch(PORT, MARKER_PORT)
        exchange(wire.client, wire.target, TARGET_ADDRESSES[0], PORT, bytes(20 * BLOCK_BYTES))
        assert pod.capture.drops() > 0
        while select.select([pod.capture], [], [], 0)[0]:
            pod.read()

        exchange(wire.client, wire.target, TARGET_ADDRESSES[0], MARKER_PORT, b"marker")
        pod.read_until(with_payload(b"marker"))
    finally:
        pod.capture.close()


def test_ring_is_walked_round_and_round(wire):
    pod = Pod(wire.target, blocks=16)
    try:
        pod.watch(PORT)
        for number in range(40):  # each takes a block at least
            payload = bytes((number,)) * 100
            exchange(wire.client, wire.target, TARGET_ADDRESSES[0], PORT, payload)
            pod.read_until(with_payload(payload))
        assert pod.capture.drops() == 0
    finally:
        pod.capture.close()


def test_interface_is_never_promiscuous(wire, pod):
    with wire.target.entered():
        flags, promiscuity = (
            subprocess.run(command, capture_output=True, text=True, check=True).stdout
            for command in (["ip", "link", "show"], ["ip", "-details", "link", "show"])
        )
    assert "eth0" in flags
    assert "PROMISC" not in flags
    assert set(re.findall(r"promiscuity (\d+)", promiscuity)) == {"0"}


def test_capture_can_be_closed_with_packets_unread(wire):
    pod = Pod(wire.target)
    pod.watch(PORT)
    exchange(wire.client, wire.target, TARGET_ADDRESSES[0], PORT)
    pod.read_until(with_payload(b"hello"))

    pod.capture.close()

    with pytest.raises(OSError, match="Bad file descriptor"):
        pod.capture.drops()


def test_capture_can_be_closed_while_somebody_still_holds_a_packet(wire):
    """As the traceback of a fault does, which must not be hidden behind another."""
    pod = Pod(wire.target)
    pod.watch(PORT)
    exchange(wire.client, wire.target, TARGET_ADDRESSES[0], PORT)
    select.select([pod.capture], [], [], DEADLINE_SECONDS)
    with wire.target.entered():
        recorder = Recorder()
        next(pod.capture.read_into(recorder, 0.0))

    pod.capture.close()

    assert recorder.packets[0].interface[1] == "eth0"


def test_ring_that_is_all_but_empty_loses_nothing_while_nobody_reads_for_a_while(wire, pod):
    """A container that used up its CPU quota stands still for a tenth of a second (CFS bandwidth control)."""
    pod.watch(PORT)
    with contextlib.ExitStack() as stack:
        with wire.target.entered():
            listener = stack.enter_context(socket.create_server((TARGET_ADDRESSES[0], PORT)))
        with wire.client.entered():
            near = stack.enter_context(
                socket.create_connection((TARGET_ADDRESSES[0], PORT), DEADLINE_SECONDS)
            )
        far = stack.enter_context(listener.accept()[0])
        end = time.monotonic() + 0.12
        rounds = 0
        while (
            time.monotonic() < end and rounds < 20_000
        ):  # at most 60,000 packets of 512 bytes: half of the ring
            send_all(near, far, b"ping")
            send_all(far, near, b"pong")
            rounds += 1

    assert pod.capture.drops() == 0


def test_what_waits_in_the_ring_is_not_seen_yet(wire, pod):
    pod.watch(PORT)
    before = time.monotonic()
    exchange(wire.client, wire.target, TARGET_ADDRESSES[0], PORT)
    select.select([pod.capture], [], [], DEADLINE_SECONDS)
    time.sleep(0.2)
    now = time.monotonic()

    assert before - 0.01 <= pod.capture.seen_until(now) < now - 0.15
    pod.read_until(with_payload(b"hello"))
    while pod.capture.seen_until(now) < now:
        pod.read()
    assert pod.capture.seen_until(now) == now
