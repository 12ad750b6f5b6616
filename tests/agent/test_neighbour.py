"""Finding a container by its ID among processes, and working in its network namespace."""

import errno
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from podmirror_agent.neighbour import NeighbourNotReached, call_in, network_namespace_of

ID = "ab" * 32
OTHER = "cd" * 32

SHAPES = {
    "cgroup v2, systemd, containerd": f"0::/kubepods.slice/kubepods-burstable.slice/x.slice/cri-containerd-{ID}.scope\n",
    "cgroup v2, CRI-O": f"0::/kubepods.slice/kubepods-pod1_2.slice/crio-{ID}.scope/container\n",
    "cgroup v2, seen from another cgroup namespace": f"0::/../../pod1/{ID}\n",
    "cgroup v1, cgroupfs": f"12:cpu,cpuacct:/kubepods/burstable/pod1-2/{ID}\n11:memory:/kubepods/burstable/pod1-2/{ID}\n",
    "cgroup v1, Docker": f"3:pids:/system.slice/docker-{ID}.scope\n",
}


def process(proc: Path, pid: int, cgroup: str, namespace: Path | None = None) -> None:
    """Make a process in a folder that stands for /proc."""
    (proc / str(pid) / "ns").mkdir(parents=True)
    (proc / str(pid) / "cgroup").write_text(cgroup)
    (proc / str(pid) / "ns" / "net").symlink_to(namespace or Path(f"/proc/{os.getpid()}/ns/net"))


@pytest.mark.parametrize("cgroup", SHAPES.values(), ids=SHAPES)
def test_a_container_is_found_by_its_id_whatever_the_runtime(tmp_path, cgroup):
    process(tmp_path, 7, f"0::/kubepods/{OTHER}\n", Path("/nowhere"))
    process(tmp_path, 30, cgroup)
    (tmp_path / "self").mkdir()

    with network_namespace_of(ID, proc=tmp_path) as neighbour:
        assert os.fstat(neighbour.namespace).st_ino == Path("/proc/self/ns/net").stat().st_ino
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(neighbour.namespace)


def test_a_container_that_is_not_there(tmp_path):
    process(tmp_path, 7, f"0::/kubepods/{OTHER}\n")

    with (
        pytest.raises(NeighbourNotReached, match="no process of container abababababab is on this node"),
        network_namespace_of(ID, proc=tmp_path),
    ):
        pass


def test_a_process_that_ends_meanwhile_is_passed_over(tmp_path):
    process(tmp_path, 7, f"0::/{ID}\n", Path("/nowhere"))
    with pytest.raises(NeighbourNotReached, match="has ended"), network_namespace_of(ID, proc=tmp_path):
        pass

    process(tmp_path, 8, f"0::/{ID}\n")
    with network_namespace_of(ID, proc=tmp_path):
        pass


def test_a_process_id_that_another_process_has_by_now_is_not_taken(tmp_path, monkeypatch):
    process(tmp_path, 7, f"0::/{ID}\n")
    opened = os.open

    def taken_over(path, *arguments):
        descriptor = opened(path, *arguments)
        (tmp_path / "7" / "cgroup").write_text(f"0::/{OTHER}\n")
        return descriptor

    monkeypatch.setattr(os, "open", taken_over)
    with pytest.raises(NeighbourNotReached, match="has ended"), network_namespace_of(ID, proc=tmp_path):
        pass


def test_a_node_that_forbids_to_look_is_told_with_the_way_around(tmp_path, monkeypatch):
    process(tmp_path, 7, f"0::/{ID}\n")

    def forbidden(path, *_):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "open", forbidden)
    with (
        pytest.raises(
            NeighbourNotReached,
            match=r"may not be opened \(Permission denied\): AppArmor or SELinux.*--privileged",
        ),
        network_namespace_of(ID, proc=tmp_path),
    ):
        pass


def test_the_nodes_own_network_is_refused_unless_it_is_asked_for(tmp_path):
    process(tmp_path, 1, "0::/init.scope\n")
    process(tmp_path, 7, f"0::/{ID}\n")

    with (
        pytest.raises(NeighbourNotReached, match="uses its node's network"),
        network_namespace_of(ID, proc=tmp_path),
    ):
        pass
    with network_namespace_of(ID, proc=tmp_path, host_network=True):
        pass


@pytest.mark.parametrize(("started", "taken"), [((900, 50), 8), ((50, 900), 7)])
def test_the_oldest_process_is_the_first_whatever_its_number(tmp_path, started, taken):
    for pid, ticks in zip((7, 8), started, strict=True):
        there = Path(f"/proc/{os.getpid()}/ns/net") if pid == taken else Path("/proc/self/status")
        process(tmp_path, pid, f"0::/{ID}\n", there)
        behind_name = ["S", *["0"] * 18, str(ticks), "0"]
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (a) b (c)) {' '.join(behind_name)}\n")

    with network_namespace_of(ID, proc=tmp_path) as neighbour:
        assert os.fstat(neighbour.namespace).st_ino == Path("/proc/self/ns/net").stat().st_ino


def threads() -> set[int]:
    """Give what the kernel knows of this process's threads, and Python."""
    known = {int(task.name) for task in Path("/proc/self/task").iterdir()}
    return known | {each.native_id for each in threading.enumerate()}


@pytest.mark.namespaces
def test_what_is_made_in_a_namespace_stays_there_and_no_thread_does(wire, tmp_path):
    process(tmp_path, 7, f"0::/{ID}\n", Path("/run/netns") / wire.target.name)
    here = threads()

    with network_namespace_of(ID, proc=tmp_path) as neighbour:
        there = call_in(neighbour.namespace, lambda: Path("/proc/thread-self/ns/net").stat().st_ino)
        listening = call_in(neighbour.namespace, lambda: socket.create_server(("127.0.0.1", 7)))

    assert there == (Path("/run/netns") / wire.target.name).stat().st_ino
    assert there != Path("/proc/self/ns/net").stat().st_ino
    with listening, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", 7), timeout=1)
    due = time.monotonic() + 10
    while threads() - here:  # one that was joined is still about to leave the kernel
        assert time.monotonic() < due


def test_an_error_in_the_namespace_is_told_here(tmp_path):
    with (
        Path("/proc/self/status").open() as no_namespace,
        pytest.raises(NeighbourNotReached, match="cannot be entered"),
    ):
        call_in(no_namespace.fileno(), lambda: None)


@pytest.mark.namespaces
def test_a_capture_opened_there_names_the_interfaces_of_there(wire, tmp_path):
    from podmirror_agent.capture import Capture

    process(tmp_path, 7, f"0::/{ID}\n", Path("/run/netns") / wire.target.name)
    with network_namespace_of(ID, proc=tmp_path) as neighbour:
        capture = call_in(neighbour.namespace, lambda: Capture(0, blocks=8))
        index = call_in(neighbour.namespace, lambda: socket.if_nametoindex("eth0"))
    try:
        assert capture._name(index) == "eth0"
        assert capture._name(4_000_000) == "if4000000"
    finally:
        capture.close()
