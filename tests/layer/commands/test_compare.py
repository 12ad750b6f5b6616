import asyncio

import pytest
from kubernetes.client import V1Container, V1ContainerPort

from podmirror.commands import compare
from podmirror.compare import rounds
from podmirror.compare.figures import Mode
from podmirror.errors import UsageError
from tests.layer.commands.cluster import connect_to
from tests.layer.compare.samples import run
from tests.layer.kube.fakes import FakeCluster
from tests.layer.kube.pods import pod


def declaring(*ports: V1ContainerPort, sidecar: int = 0) -> object:
    made = pod()
    made.spec.containers[0].ports = list(ports)
    if sidecar:
        ports_beside = [V1ContainerPort(container_port=sidecar)]
        made.spec.init_containers = [V1Container(name="proxy", restart_policy="Always", ports=ports_beside)]
    return made


def test_the_tcp_ports_that_are_declared_are_compared():
    http, dns = V1ContainerPort(container_port=80), V1ContainerPort(container_port=53, protocol="UDP")

    assert compare._declared(declaring(http, dns, http, sidecar=81)) == (80, 81)


def test_a_pod_that_declares_none_is_told_so():
    with pytest.raises(UsageError, match="pod web-1 declares no TCP port; name those"):
        compare._declared(declaring())


def test_a_pod_of_udp_alone_is_told_why_not():
    dns = V1ContainerPort(container_port=53, protocol="UDP")

    with pytest.raises(UsageError, match="declares no TCP port but 53/UDP, and only TCP is mirrored; name"):
        compare._declared(declaring(dns))


def test_an_interrupt_tells_what_is_left(monkeypatch, capsys):
    async def interrupted(stage, columns, *_: object, **__: object):
        columns[0].runs.append(run(Mode.EPHEMERAL))
        raise asyncio.CancelledError

    async def version():
        return "v1.36.2"

    cluster = connect_to(FakeCluster(read_namespaced_pod=pod()), monkeypatch)
    cluster.version = version
    monkeypatch.setattr(rounds, "run_rounds", interrupted)
    asked = ("-t", "pod/web-1", "-p", "80", "--progress", "plain")
    with pytest.raises(asyncio.CancelledError):
        compare.command.main(asked, standalone_mode=False)

    said = capsys.readouterr().err
    assert "interrupted after 0 of 3 rounds: the ephemeral agents that were started have left" in said
    assert "one that was still starting ends by itself within 30 s" in said
