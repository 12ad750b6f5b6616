"""What the sandbox needs from the machine, and what is missing, said before anything is started."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import subprocess
import sys

_TOOLS = {
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "mount": "util-linux",
    "ip": "iproute2",
}

UNSHARE_ROOT = (
    "--mount",
    "--net",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "--propagation",
    "private",
)
UNSHARE_USER = ("--user", "--map-root-user", *UNSHARE_ROOT)


def is_root() -> bool:
    """Whether the sandbox needs no user namespace."""
    return os.geteuid() == 0


def unshare_options() -> tuple[str, ...]:
    """How the node's namespaces are made for this user."""
    return UNSHARE_ROOT if is_root() else UNSHARE_USER


def missing_requirements() -> list[str]:
    """One sentence for each thing that is missing; nothing when the sandbox can run."""
    if sys.platform != "linux":
        return [
            f"The sandbox needs Linux namespaces, and this is {sys.platform}: use a Linux machine or a cluster."
        ]
    found = [
        f"The program {tool} is missing: install the package {package}."
        for tool, package in _TOOLS.items()
        if shutil.which(tool) is None
    ]
    if ctypes.util.find_library("pcap") is None:
        found.append(
            "The library libpcap, which the agent needs, is missing: install the package libpcap0.8 or libpcap."
        )
    if shutil.which("unshare") is not None:
        found += _refused_namespaces()
    return found


def _refused_namespaces() -> list[str]:
    """Try it: there are too many switches to look at (sysctls, AppArmor, seccomp, limits)."""
    attempt = subprocess.run(
        ["unshare", *unshare_options(), "true"], capture_output=True, text=True, check=False
    )
    if attempt.returncode == 0:
        return []
    said = attempt.stderr.strip() or f"exit code {attempt.returncode}"
    if is_root():
        return [f"The kernel refuses to make namespaces, perhaps because this is a container: {said}"]
    return [
        f"A plain user may not make user namespaces here ({said}): allow them (sysctl user.max_user_namespaces, "
        "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns) or run the sandbox as root."
    ]
