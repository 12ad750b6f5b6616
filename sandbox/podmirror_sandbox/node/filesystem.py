"""The node's private view of the file system: its own /run, /dev, /etc/hosts and resolver. Nothing is written to the host's.

All of it is mounts in the node's own mount namespace, so it needs no removing. A /dev of its own is there for one file:
/dev/termination-log, over which each container gets a file bind-mounted; on the host's /dev it could not be created
without leaving it there. Device files cannot be made in a user namespace, so the host's are bind-mounted.
"""

from __future__ import annotations

from pathlib import Path

from podmirror_sandbox.node.processes import CommandFailed, Processes

DATA = Path("/run/podmirror-sandbox")
HOSTS = DATA / "hosts"
_RESOLVER = DATA / "resolv.conf"
_ETC_HOSTS = Path("/etc/hosts")
_ETC_RESOLVER = Path("/etc/resolv.conf")
_NEW_DEV = DATA / "dev"
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


async def set_up(processes: Processes) -> None:
    """Mount it all.

    Raises:
        CommandFailed: when a mount that is needed was refused.
    """

    async def mount(*args: str) -> None:
        await processes.run(["mount", *args])

    # Not world-writable: in a sticky, world-writable directory the kernel refuses to open with O_CREAT what belongs to
    # others (fs.protected_regular), and in a user namespace the devices belong to others.
    tmpfs = ("-t", "tmpfs", "-o", "mode=755")
    await mount(*tmpfs, "run", "/run")
    _NEW_DEV.mkdir(parents=True)
    await mount(*tmpfs, "dev", str(_NEW_DEV))
    for device in _DEVICES:
        (_NEW_DEV / device).touch()
        await mount("--bind", f"/dev/{device}", str(_NEW_DEV / device))
    for link, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        (_NEW_DEV / link).symlink_to(f"/proc/self/fd{target}")
    (_NEW_DEV / "termination-log").touch()
    for directory in ("pts", "shm"):
        (_NEW_DEV / directory).mkdir()
    await mount("-t", "tmpfs", "-o", "mode=1777", "shm", str(_NEW_DEV / "shm"))
    try:
        await mount("--rbind", "/dev/pts", str(_NEW_DEV / "pts"))
        (_NEW_DEV / "ptmx").symlink_to("pts/ptmx")
    except CommandFailed:
        # Only programs that open a terminal miss it, and containers have none here.
        pass
    await mount("--rbind", str(_NEW_DEV), "/dev")
    HOSTS.write_text("127.0.0.1\tlocalhost\n::1\tlocalhost\n")
    if _is_there(_ETC_HOSTS):
        await mount("--bind", str(HOSTS), str(_ETC_HOSTS))
    # There is no name server. The host's would only be waited for, five seconds at a time; on the pod's own loopback
    # nobody listens, which is known at once.
    _RESOLVER.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    if _is_there(_ETC_RESOLVER):
        await mount("--bind", str(_RESOLVER), str(_ETC_RESOLVER))


def _is_there(path: Path) -> bool:
    return path.exists()
