"""Addresses of API servers and proxies, looked up where nobody waits for them at exit.

aiohttp looks names up in threads of the event loop's executor, which Python waits for at its end. With a VPN that was lost a
look-up takes half a minute, and Ctrl-C would take as long.
"""

import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from podmirror.kube.cluster import in_daemon_thread


class Lookup(AbstractResolver):
    """Looks names up in daemon threads."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Give the addresses of a host.

        Raises:
            OSError: It has none, or they cannot be found.
        """
        found = await in_daemon_thread(
            lambda: socket.getaddrinfo(
                host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
            )
        )
        return [
            ResolveResult(
                hostname=host,
                host=_written(address),
                port=port,
                family=of_family,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for of_family, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Nothing is kept."""


def _written(address: tuple[object, ...]) -> str:
    """Give an address as text; a link-local one of IPv6 with its scope."""
    host, _, *more = address
    scope = more[1] if len(more) > 1 else 0
    return f"{host}%{scope}" if scope else str(host)
