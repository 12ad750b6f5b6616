"""What remains after an agent, against a cluster that answers by script."""

import time

from podmirror.compare import leaving as leaving_module
from podmirror.compare.leaving import look_behind
from podmirror.compare.spread import Unknown
from podmirror.kube.cluster import Refusal
from tests.layer.kube.fakes import FakeCluster, items
from tests.layer.kube.injections import ENDED, RUNNING, TARGET
from tests.layer.kube.pods import AGENT, pod

GONE = Refusal(404, "NotFound", "it is gone")


async def test_an_ephemeral_agent_leaves_its_entry():
    states = [pod(agents=(AGENT,), agent_state=state) for state in (RUNNING, ENDED, ENDED)]
    cluster = FakeCluster(read_namespaced_pod=states)

    said = time.monotonic()
    left = await look_behind(cluster, TARGET, AGENT, said, job_namespace=None)
    took = time.monotonic() - said

    assert left.entries == (1, 1)
    assert 0 < left.ended <= took
    assert left.gone == Unknown("there was no Job")


async def test_a_job_is_gone_with_its_pod():
    cluster = FakeCluster(
        read_namespaced_pod=pod(),
        list_namespaced_pod=[items(pod("j")), items()],
        read_namespaced_job=[object(), GONE],
    )

    said = time.monotonic()
    left = await look_behind(cluster, TARGET, AGENT, said, job_namespace="agents")
    took = time.monotonic() - said

    assert left.entries == (0, 0)
    assert 0 < left.gone <= took
    assert 0 < left.ended <= took


async def test_what_is_still_there_is_told_as_such(monkeypatch):
    monkeypatch.setattr(leaving_module, "WATCH_SECONDS", 0.2)
    cluster = FakeCluster(read_namespaced_pod=pod(agents=(AGENT,), agent_state=RUNNING))

    left = await look_behind(cluster, TARGET, AGENT, time.monotonic(), job_namespace=None)

    assert left.ended == Unknown("it had not ended 0.2 s after the goodbye")


async def test_what_may_not_be_read_is_unknown():
    cluster = FakeCluster(read_namespaced_pod=Refusal(403, "Forbidden", "pods are not for you"))

    left = await look_behind(cluster, TARGET, AGENT, time.monotonic(), job_namespace=None)

    assert left.ended == Unknown("pods are not for you")
    assert left.entries == (-1, -1)
