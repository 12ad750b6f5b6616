"""Into the network namespace of a container on the same node, for an agent that is a Job's pod and sees the node's processes.

Theory of operation. The runtime is not asked: that would take its socket, which is root on the node. Each process says in
/proc/PID/cgroup which control groups it is in, and their paths hold the container's ID, whatever the runtime and its cgroup
driver (kubernetes pkg/kubelet/cm/cgroup_manager_linux.go): `.../pod<uid>/<id>`, `cri-containerd-<id>.scope`, `crio-<id>.scope`,
`docker-<id>.scope`, on a line for each hierarchy of cgroup v1 or on the only one of v2, and also where the agent has a cgroup
namespace of its own, which only shortens the path's beginning. So the ID is looked for anywhere in the file.

A process ID may be taken by another process at any time. Therefore the namespace is opened first, and the control group is read
again behind that: if it is still the container's, the opened namespace was, too.

Not every process of a container is in its network: a browser's sandbox or a container inside the container has namespaces of
its own, and stands below the container's control group or in it. The first process is in the right one. It is the oldest, and
not always the one with the lowest number, since numbers begin anew.

setns(2) speaks for the calling thread, and a packet socket belongs for good to the namespace it was opened in. So a thread that
enters the namespace, opens the socket and ends is all that is ever there.
"""

import contextlib
import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

_CLONE_NEWNET = 0x40000000  # linux/sched.h
_THREAD_END_SECONDS = 1.0
"""For the kernel to be done with a thread that Python has joined."""

Made = TypeVar("Made")


class NeighbourNotReached(Exception):
    """The container's network namespace cannot be entered; why, in a sentence."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A container of the node whose network namespace was opened."""

    namespace: int
    """The descriptor."""
    process: Path
    """The folder of its first process."""


@contextlib.contextmanager
def network_namespace_of(
    container: str, *, proc: Path = Path("/proc"), host_network: bool = False
) -> Iterator[Neighbour]:
    """Open the network namespace of a container.

    Args:
        container: Its ID, without the runtime's name.
        proc: Where the node's processes show.
        host_network: Admit a container that shares its node's network.

    Raises:
        NeighbourNotReached: There is no such container, or its namespace may not be opened.
    """
    neighbour = _open(container, proc)
    descriptor = neighbour.namespace
    try:
        if not host_network and _is_the_nodes(descriptor, proc):
            raise NeighbourNotReached(
                f"container {container[:12]} uses its node's network, where all of the node's traffic would be seen"
            )
        yield neighbour
    finally:
        os.close(descriptor)


def call_in(namespace: int, make: Callable[[], Made]) -> Made:
    """Call a function in a thread that has entered a network namespace, and give what it makes.

    When this returns the thread is gone for the kernel, too.

    Raises:
        NeighbourNotReached: The namespace cannot be entered; and whatever the function raises.
    """
    made: list[Made] = []
    failed: list[Exception] = []

    def work() -> None:
        try:
            _enter(namespace)
            made.append(make())
        except Exception as error:  # noqa: BLE001  # it is raised in the caller's thread
            failed.append(error)

    threads = _count_threads()
    thread = threading.Thread(target=work, name="neighbour")
    thread.start()
    thread.join()
    deadline = time.monotonic() + _THREAD_END_SECONDS
    while _count_threads() > threads and time.monotonic() < deadline:
        time.sleep(0.001)
    if failed:
        raise failed[0]
    return made[0]


def _open(container: str, proc: Path) -> Neighbour:
    found = False
    for pid in _processes(container, proc):
        found = True
        try:
            descriptor = os.open(proc / str(pid) / "ns" / "net", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # it has ended meanwhile
        except PermissionError as error:
            raise NeighbourNotReached(
                f"the network namespace of container {container[:12]} may not be opened ({error.strerror}): AppArmor or "
                "SELinux of the node forbids it, although the capability is there; --privileged gets around that"
            ) from error
        if _is_of(pid, container, proc):
            return Neighbour(descriptor, proc / str(pid))
        os.close(descriptor)
    raise NeighbourNotReached(
        f"container {container[:12]} has ended"
        if found
        else f"no process of container {container[:12]} is on this node: it has ended, or the node's processes do not show here"
    )


def _processes(container: str, proc: Path) -> list[int]:
    """Find the container's processes, the first of them first."""
    pids = (int(entry.name) for entry in proc.iterdir() if entry.name.isdecimal())
    return sorted((pid for pid in pids if _is_of(pid, container, proc)), key=lambda pid: _age(pid, proc))


def _age(pid: int, proc: Path) -> tuple[int, int]:
    """Give what sorts the oldest process first: its start in clock ticks since boot, field 22 of stat (proc(5))."""
    try:
        # The name, in parentheses, may hold anything.
        behind_name = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return int(behind_name[19]), pid
    except (OSError, IndexError, ValueError):  # it has ended, or this is no real /proc
        return sys.maxsize, pid


def _is_of(pid: int, container: str, proc: Path) -> bool:
    try:
        return container in (proc / str(pid) / "cgroup").read_text()
    except OSError:  # it has ended
        return False


def _is_the_nodes(descriptor: int, proc: Path) -> bool:
    try:
        first = (proc / "1" / "ns" / "net").stat()
    except OSError:  # it shows only to who may look into that process
        return False
    return first.st_ino == os.fstat(descriptor).st_ino


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)  # os.setns came with Python 3.12
    if libc.setns(namespace, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise NeighbourNotReached(
            f"the target's network namespace cannot be entered: {os.strerror(number)}; that takes CAP_SYS_ADMIN"
        )


def _count_threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))
