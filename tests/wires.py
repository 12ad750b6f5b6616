"""Wires of our own between network namespaces: TAP devices, and the packet sockets that stand in for a VLAN interface.

The kernel's own means for rough networks and for VLANs (sch_netem, 8021q) are modules that not every kernel has, and netem
does not say what it did. Here a program (tests/relay.py) carries frames from one device to another; it loses, repeats, delays
and reorders them from a seed, and counts. Super-packets stay whole, with the virtio header that says how to cut them.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.namespaces import (
    CLIENT_ADDRESSES,
    TARGET_ADDRESSES,
    Namespace,
    Namespaces,
    empty_namespaces,
    ip,
)

TARGET_MAC, CLIENT_MAC = "02:00:00:00:01:02", "02:00:00:00:01:01"
CUSTOMER_TAG, SERVICE_TAG = 0x8100, 0x88A8
"""802.1Q and 802.1ad (linux/if_ether.h: ETH_P_8021Q and ETH_P_8021AD)."""

_TUNSETIFF, _TUNSETOFFLOAD = 0x400454CA, 0x400454D0
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
_TUN_F_CSUM, _TUN_F_TSO4, _TUN_F_TSO6 = 1, 2, 4
_SOL_PACKET, _PACKET_AUXDATA, _PACKET_VNET_HDR, _PACKET_IGNORE_OUTGOING = 263, 8, 15, 23


@dataclass(frozen=True)
class Roughness:
    """What happens to frames of one direction; the shares are of all frames."""

    loss: float = 0.0
    repeat: float = 0.0
    reorder: float = 0.0
    delay: float = 0.0
    """Seconds, of each frame; and up to as much again for each that is reordered."""


SMOOTH = Roughness()


@dataclass(frozen=True)
class Tag:
    """A VLAN tag."""

    ethertype: int
    number: int


@dataclass
class Relay:
    """A running relay, and what it has counted once it has ended."""

    process: "subprocess.Popen[str]"
    counts: dict[str, int] = field(default_factory=dict)

    def stop(self) -> None:
        if not self.counts:
            self.process.send_signal(signal.SIGTERM)
            self.counts = json.loads(self.process.communicate(timeout=10)[0])


@contextlib.contextmanager
def rough_pair(
    *, offload: bool, to_target: Roughness, to_client: Roughness, seed: int
) -> Iterator[tuple[Namespaces, Relay]]:
    """Join target and client by a rough wire: what is lost towards the target is lost before the agent could see it."""
    with empty_namespaces() as made:
        taps = [
            open_tap(made.client, "eth0", CLIENT_MAC, CLIENT_ADDRESSES, offload=offload),
            open_tap(made.target, "eth0", TARGET_MAC, TARGET_ADDRESSES, offload=offload),
        ]
        _introduce(made, "eth0", TARGET_MAC, CLIENT_MAC)
        with _relay(taps, [[], []], [to_target, to_client], seed) as relay:
            yield made, relay


@contextlib.contextmanager
def tagged_pair(
    made: Namespaces,
    tags: list[Tag],
    *,
    offload: bool = True,
    inside: Roughness = SMOOTH,
    seed: int = 0,
) -> Iterator[Relay]:
    """Put an interface `tagged` with the addresses over `eth0` on both sides, as a VLAN device would be.

    `inside` roughens the way between the target's two interfaces, in both directions: an agent that follows `eth0` sees frames
    that the target's kernel never gets. Gives the target's relay.
    """
    with contextlib.ExitStack() as stack:
        relays = []
        for namespace, mac, addresses, roughness in (
            (made.client, CLIENT_MAC, CLIENT_ADDRESSES, SMOOTH),
            (made.target, TARGET_MAC, TARGET_ADDRESSES, inside),
        ):
            for address in addresses:
                ip("-n", namespace.name, "address", "delete", address + _prefix(address), "dev", "eth0")
            ip("-n", namespace.name, "link", "set", "eth0", "down", "address", mac)
            ip("-n", namespace.name, "link", "set", "eth0", "up")
            tap = open_tap(namespace, "tagged", mac, addresses, offload=offload)
            # A packet socket takes no more than the MTU, tags included (but for one of 802.1Q).
            ip("-n", namespace.name, "link", "set", "tagged", "mtu", str(1500 - 4 * len(tags)))
            ends = [_open_packet_socket(namespace, "eth0"), tap]
            relays.append(stack.enter_context(_relay(ends, [tags, []], [roughness, roughness], seed)))
        _introduce(made, "tagged", TARGET_MAC, CLIENT_MAC)
        yield relays[1]


def open_tap(namespace: Namespace, name: str, mac: str, addresses: tuple[str, ...], *, offload: bool) -> int:
    """Make a TAP device in a namespace, and give the descriptor that its frames go through."""
    with namespace.entered():
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        offloads = _TUN_F_CSUM | _TUN_F_TSO4 | _TUN_F_TSO6 if offload else 0
        fcntl.ioctl(descriptor, _TUNSETOFFLOAD, offloads)
    inside = ("-n", namespace.name)
    ip(*inside, "link", "set", name, "address", mac, "txqueuelen", "10000", "up")
    for address in addresses:
        nodad = ["nodad"] if ":" in address else []
        ip(*inside, "address", "add", address + _prefix(address), "dev", name, *nodad)
    return descriptor


def _prefix(address: str) -> str:
    return "/64" if ":" in address else "/24"


def _open_packet_socket(namespace: Namespace, interface: str) -> int:
    with namespace.entered():
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        for option in (_PACKET_AUXDATA, _PACKET_VNET_HDR, _PACKET_IGNORE_OUTGOING):
            opened.setsockopt(_SOL_PACKET, option, 1)
        opened.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
        opened.bind((interface, 0x0003))
    opened.setblocking(False)
    return opened.detach()


def _introduce(made: Namespaces, interface: str, target_mac: str, client_mac: str) -> None:
    for namespace, peers, mac in (
        (made.target, CLIENT_ADDRESSES, client_mac),
        (made.client, TARGET_ADDRESSES, target_mac),
    ):
        for peer in peers:
            entry = (peer, "lladdr", mac, "dev", interface, "nud", "permanent")
            ip("-n", namespace.name, "neighbour", "replace", *entry)


@contextlib.contextmanager
def _relay(
    descriptors: list[int], tags: list[list[Tag]], roughness: list[Roughness], seed: int
) -> Iterator[Relay]:
    settings = {
        "descriptors": descriptors,
        "tags": [[asdict(tag) for tag in each] for each in tags],
        "roughness": [asdict(each) for each in roughness],
        "seed": seed,
    }
    command = [sys.executable, str(Path(__file__).with_name("relay.py")), json.dumps(settings)]
    with subprocess.Popen(command, pass_fds=descriptors, stdout=subprocess.PIPE, text=True) as process:
        for descriptor in descriptors:
            os.close(descriptor)
        relay = Relay(process)
        try:
            yield relay
            relay.stop()
        finally:
            process.kill()
