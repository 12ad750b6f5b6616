"""Sockets inside a pod's network namespace, for a process that lives outside of it.

A socket belongs for good to the namespace it was made in. Namespaces are a property of threads, so a thread of its own
enters the pod's, makes the socket and ends. It is never used again: what ran on it next would be in the pod too, which
is why an executor's threads cannot be taken. `os.setns` came with Python 3.12, so libc's is called.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_CLONE_NEWNET = 0x40000000


async def socket_in(namespace: Path, family: socket.AddressFamily) -> socket.socket:
    """A non-blocking TCP socket inside a network namespace.

    Raises:
        OSError: when the namespace cannot be entered or has no such address family.
    """
    loop = asyncio.get_running_loop()
    made: asyncio.Future[socket.socket] = loop.create_future()

    def settle(result: socket.socket | None, error: OSError | None) -> None:
        if made.cancelled():
            if result is not None:
                result.close()
        elif result is not None:
            made.set_result(result)
        elif error is not None:
            made.set_exception(error)

    def work() -> None:
        try:
            result = _make(namespace, family)
        except OSError as error:
            loop.call_soon_threadsafe(settle, None, error)
        else:
            loop.call_soon_threadsafe(settle, result, None)

    threading.Thread(target=work, name=f"netns-{namespace.name}", daemon=True).start()
    return await made


def _make(namespace: Path, family: socket.AddressFamily) -> socket.socket:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(descriptor, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(namespace))
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setblocking(False)
        return made
    finally:
        os.close(descriptor)
