"""What a fleet's agents count and are told, as if there were one agent."""

from typing import TYPE_CHECKING, NamedTuple

from podmirror.link import Link

if TYPE_CHECKING:
    import asyncio

    from podmirror.errors import AgentLost
    from podmirror.session import Session

INDEX_SHIFT = 32
"""Connection numbers have 32 bits on the wire (docs/protocol.md)."""

_NUMBER_MASK = (1 << INDEX_SHIFT) - 1

_EARLIEST = frozenset({"first_drop_time"})
_LATEST = frozenset({"last_drop_time"})
"""Counts of agents that are times; all others add up."""


class PodRef(NamedTuple):
    """A pod, and no other: a StatefulSet's next pod has the name of the one before."""

    name: str
    uid: str
    created: float = 0.0
    """Seconds since 1970, by the cluster's clock."""


class Member:
    """A pod that is mirrored, or was."""

    def __init__(self, index: int, pod: PodRef) -> None:
        self.index = index
        self.pod = pod
        self.session: Session | None = None
        self.task: asyncio.Task[None] | None = None
        self.open: set[int] = set()
        """Numbers, as its agent gives them, of connections that were announced and not closed."""
        self.lost: AgentLost | None = None
        """Without a last word of the agent's, which leaves it open what it had not sent."""
        self.ended = False
        self.gone = False
        """Its pod is, so that nobody answers a goodbye."""

    def number(self, connection: int) -> int:
        """Give the number by which this fleet knows a connection of this member."""
        return self.index << INDEX_SHIFT | connection


class FleetLink:
    """What `Mirroring` asks of a link, of all of them."""

    def __init__(self, members: list[Member]) -> None:
        self._members = members

    @property
    def counts(self) -> dict[str, int]:
        """The agents' ledgers, added up."""
        total: dict[str, int] = {}
        for link in self._links():
            for name, value in link.counts.items():
                before = total.get(name, 0)
                if name in _EARLIEST:
                    total[name] = min(before or value, value or before)
                elif name in _LATEST:
                    total[name] = max(before, value)
                else:
                    total[name] = before + value
        return total

    @property
    def counted(self) -> float | None:
        """When the latest of them was heard, monotonic seconds."""
        return max((link.counted for link in self._links() if link.counted is not None), default=None)

    def give_credit(self, connection: int, size: int) -> None:
        """Let a connection's agent send `size` more payload bytes of it."""
        link = self._link_of(connection)
        if link is not None:
            link.give_credit(connection & _NUMBER_MASK, size)

    def dismiss(self, connection: int) -> None:
        """Ask a connection's agent for no more bytes of it."""
        link = self._link_of(connection)
        if link is not None:
            link.dismiss(connection & _NUMBER_MASK)

    def _links(self) -> list[Link]:
        return [member.session.link for member in self._members if member.session is not None]

    def _link_of(self, connection: int) -> Link | None:
        member = self._members[connection >> INDEX_SHIFT]
        return member.session.link if member.session is not None and not member.ended else None
