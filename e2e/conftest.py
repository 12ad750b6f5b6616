import itertools
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster import APP, E2ECluster, cluster

TEST_SECONDS = 240
"""A scenario waits for a cluster, which may have other work, too."""

_FIRST_PORT, _WORKERS_PORTS = 20_000, 1_000
_numbers = itertools.count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


@pytest.fixture(scope="session")
def k8s() -> Iterator[E2ECluster]:
    with cluster() as made:
        made.deploy("app", APP, replicas=1)
        yield made


@pytest.fixture
def local_port() -> int:
    """Give a free port that nobody gets by chance: below those that the kernel gives away, and of this worker alone."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        port = _FIRST_PORT + worker * _WORKERS_PORTS + next(_numbers) % _WORKERS_PORTS
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
