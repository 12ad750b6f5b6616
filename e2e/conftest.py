import socket
from collections.abc import Iterator

import pytest

from e2e.cluster import APP, E2ECluster, cluster


@pytest.fixture(scope="session")
def k8s() -> Iterator[E2ECluster]:
    with cluster() as made:
        made.deploy("app", APP, replicas=1)
        yield made


@pytest.fixture
def local_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
