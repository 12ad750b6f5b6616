"""The node's processes as a pod with `hostPID` finds them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from podmirror_sandbox.node.processview import ProcessView

if TYPE_CHECKING:
    from tests.sandbox.conftest import Api

ID = "containerd://" + "ab" * 32


def test_a_process_shows_for_as_long_as_its_container_runs(tmp_path: Path) -> None:
    pid = os.getpid()
    entry = tmp_path / str(pid)
    with ProcessView(tmp_path).showing(pid, ID, "12-34"):
        cgroup = (entry / "cgroup").read_text()
        assert cgroup == f"0::/kubepods.slice/kubepods-pod12_34.slice/cri-containerd-{'ab' * 32}.scope\n"
        assert (entry / "ns" / "net").stat().st_ino == Path("/proc/self/ns/net").stat().st_ino
    assert not entry.exists()


def test_a_container_that_has_ended_at_once_does_not_show(tmp_path: Path) -> None:
    with ProcessView(tmp_path).showing(None, ID, "12-34"):
        assert not list(tmp_path.iterdir())


@pytest.mark.namespaces
async def test_a_pod_of_the_nodes_processes_finds_its_neighbour_by_container_id(api: Api) -> None:
    await api.create_pod("neighbour", "sleep", "1000")
    pod = await api.until_running("neighbour")
    identifier = pod["status"]["containerStatuses"][0]["containerID"].rpartition("://")[2]
    script = (
        f'cd $PODMIRROR_PROC; pid=$(grep -l {identifier} */cgroup | cut -d/ -f1); cat /proc/$pid/cmdline | tr "\\0" " "; '
        "readlink $pid/ns | grep -c $pid"
    )
    await api.create_pod("looker", "sh", "-c", script, restartPolicy="Never", hostPID=True)
    await api.until("pods/looker", lambda pod: pod["status"]["phase"] == "Succeeded")

    assert (await api.log("looker")).split() == ["sleep", "1000", "1"]
    for name in ("neighbour", "looker"):
        await api.delete_pod(name)
