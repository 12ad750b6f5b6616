"""A cluster in the place of the one that commands connect to."""

from tests.layer.kube.fakes import FakeCluster


def connect_to(cluster: FakeCluster, monkeypatch) -> FakeCluster:
    """Let commands find this cluster."""
    cluster.batch = cluster.custom = cluster.authorization = cluster.authentication = cluster.core

    def connect(context: str | None, namespace: str | None) -> FakeCluster:
        cluster.namespace = namespace or cluster.namespace
        return cluster

    monkeypatch.setattr("podmirror.kube.cluster.Cluster.connect", connect)
    return cluster
