"""Give up every capability once the packet socket is open: reading from it, and changing its filter, needs none."""

import ctypes
import os
from pathlib import Path

_CAPABILITY_VERSION_3 = 0x20080522  # linux/capability.h
_PR_SET_NO_NEW_PRIVS = 38  # linux/prctl.h


def drop_capabilities() -> None:
    """Empty the permitted, effective and inheritable sets of this process, for good.

    Capabilities belong to threads and capset(2) speaks for its own only, so this must run while there is one thread.

    Raises:
        RuntimeError: There is more than one thread.
        OSError: The kernel refused.
    """
    if len(list(Path("/proc/self/task").iterdir())) != 1:
        raise RuntimeError("capabilities must be dropped while the agent has one thread")
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    empty = (ctypes.c_uint32 * 6)()
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or libc.capset(header, empty) != 0:
        raise OSError(ctypes.get_errno(), f"cannot drop capabilities: {os.strerror(ctypes.get_errno())}")
