from collections.abc import Iterator

import pytest

from tests import namespaces
from tests.agent.packets import Talk
from tests.agent.stage import Stage
from tests.agent.watch import Watch


@pytest.fixture(scope="session")
def namespaces_at_hand() -> None:
    if reason := namespaces.why_not():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def wire(namespaces_at_hand: None) -> Iterator[namespaces.Namespaces]:
    """A client and a pod, the target, in network namespaces of their own, joined by a veth pair."""
    with namespaces.namespaces() as made:
        yield made


@pytest.fixture
def talk() -> Talk:
    return Talk()


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def stage() -> Stage:
    return Stage()
