"""The pod network: a bridge in the node's namespace, and a veth pair into each pod's.

Everything is created inside the node's network namespace, so nothing shows on the host and everything vanishes with it.
MAC addresses are set: a bridge without one takes the lowest of its ports, and would change it when pods come and go,
which costs every pod's neighbour cache some lost seconds. `nodad` makes the IPv6 addresses usable at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from podmirror_sandbox.node.processes import CommandFailed, Processes

BRIDGE = "cni0"
IPV4 = "10.244.0."
IPV6 = "fd00:10:244::"
NAMESPACES = Path("/run/netns")
_FIRST, _LAST = 2, 254


@dataclass(frozen=True)
class PodNetwork:
    """One pod's place in the network."""

    namespace: str
    number: int
    ipv4: str
    ipv6: str | None

    @property
    def path(self) -> Path:
        """The file that stands for the network namespace."""
        return NAMESPACES / self.namespace


class Network:
    """Makes and removes the network of pods."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._used: set[int] = set()
        self._last = _FIRST - 1
        # A kernel without IPv6 has no such file; pods then have one address.
        self.has_ipv6 = Path("/proc/net/if_inet6").exists()

    async def set_up(self) -> None:
        """Make the bridge.

        Raises:
            CommandFailed: when `ip` could not.
        """
        lines = [
            "link set lo up",
            f"link add {BRIDGE} address {_mac(1)} type bridge",
            f"addr add {IPV4}1/24 dev {BRIDGE}",
        ]
        if self.has_ipv6:
            lines.append(f"addr add {IPV6}1/64 dev {BRIDGE} nodad")
        await self._ip(*lines, f"link set {BRIDGE} up")

    async def attach(self, pod_uid: str) -> PodNetwork:
        """Make a pod's network namespace and connect it.

        Raises:
            CommandFailed: when `ip` could not, or no address is free.
        """
        number = self._next_number()
        namespace = f"cni-{pod_uid}"
        ipv6 = f"{IPV6}{number}" if self.has_ipv6 else None
        network = PodNetwork(namespace, number, f"{IPV4}{number}", ipv6)
        self._used.add(number)
        try:
            await self._connect(network)
        except CommandFailed:
            await self.detach(network)
            raise
        return network

    async def _connect(self, network: PodNetwork) -> None:
        veth, namespace = f"veth{network.number}", network.namespace
        await self._ip(
            f"netns add {namespace}",
            f"link add {veth} type veth peer name eth0 address {_mac(network.number)} netns {namespace}",
            f"link set {veth} master {BRIDGE} up",
        )
        lines = ["link set lo up", f"addr add {network.ipv4}/24 dev eth0"]
        if network.ipv6:
            lines.append(f"addr add {network.ipv6}/64 dev eth0 nodad")
        lines += ["link set eth0 up", f"route add default via {IPV4}1"]
        if network.ipv6:
            # `ip` sees from the address which family is meant.
            lines.append(f"route add default via {IPV6}1")
        await self._ip(*lines, namespace=namespace)

    async def detach(self, network: PodNetwork) -> None:
        """Remove a pod's network; nothing of it being there is fine."""
        for line in (f"link del veth{network.number}", f"netns del {network.namespace}"):
            try:
                await self._ip(line)
            except CommandFailed:
                # Half-made networks are removed too, and what is not there needs no removing.
                continue
        self._used.discard(network.number)

    def _next_number(self) -> int:
        # Round robin, so that an address is not reused at once and late packets reach nobody.
        size = _LAST - _FIRST + 1
        for step in range(1, size + 1):
            number = (self._last - _FIRST + step) % size + _FIRST
            if number not in self._used:
                self._last = number
                return number
        raise CommandFailed("all addresses of 10.244.0.0/24 are in use")

    async def _ip(self, *lines: str, namespace: str = "") -> None:
        where = ["-n", namespace] if namespace else []
        await self._processes.run(["ip", *where, "-batch", "-"], "\n".join(lines) + "\n")


def _mac(number: int) -> str:
    # As the CNI plugins do it: 0a:58 and the four bytes of the IPv4 address.
    return f"0a:58:0a:f4:00:{number:02x}"
