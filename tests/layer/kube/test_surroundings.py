import pytest
from kubernetes.client import V1Container, V1Node, V1ObjectMeta, V1ResourceRequirements

from podmirror.errors import NotStarted
from podmirror.kube.headroom import MEBIBYTE
from podmirror.kube.surroundings import UNKNOWN, look_around, memory_limit
from tests.layer.kube.fakes import FakeCluster
from tests.layer.kube.pods import pod


def limits(memory: str | None) -> V1ResourceRequirements | None:
    return None if memory is None else V1ResourceRequirements(limits={"memory": memory})


def limited(*memory: str | None):
    made = pod()
    made.spec.containers = [
        V1Container(name=f"c{n}", resources=limits(each)) for n, each in enumerate(memory)
    ]
    return made


@pytest.mark.parametrize(
    ("memory", "limit"),
    [
        (["64Mi", "64Mi"], 128 * MEBIBYTE),
        (["1G"], 10**9),
        (["134217728000m"], 128 * MEBIBYTE),
        (["64Mi", None], None),
        ([None], None),
    ],
)
def test_the_limit_of_a_pod_is_that_of_all_its_containers(memory, limit):
    assert memory_limit(limited(*memory)) == limit


def test_sidecars_count_and_init_containers_that_end_do_not():
    made = limited("64Mi")
    made.spec.init_containers = [
        V1Container(name="proxy", restart_policy="Always", resources=limits("64Mi")),
        V1Container(name="migrate"),
    ]

    assert memory_limit(made) == 128 * MEBIBYTE


def test_a_limit_of_the_pods_own_goes_first():
    made = limited("64Mi", None)
    made.spec.resources = limits("1Gi")

    assert memory_limit(made) == 1024 * MEBIBYTE


async def test_without_the_permission_for_nodes_the_pod_alone_is_looked_at():
    assert await look_around(FakeCluster(), pod()) == UNKNOWN


async def test_a_node_that_carries_no_agent_is_refused_by_the_pods_name():
    node = V1Node(metadata=V1ObjectMeta(labels={"kubernetes.io/os": "windows"}))

    with pytest.raises(NotStarted, match=r"pod shop/web-1 runs on a Windows node.*choose another pod"):
        await look_around(FakeCluster(read_node=node), pod())
