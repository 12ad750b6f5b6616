from collections.abc import Iterator

import pytest

from tests.agent import netns


@pytest.fixture(scope="session")
def namespaces_at_hand() -> None:
    reason = netns.why_not()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def wire(namespaces_at_hand: None) -> Iterator[netns.Wire]:
    """A client and a pod in network namespaces of their own, joined by a veth pair."""
    with netns.joined() as made:
        yield made
