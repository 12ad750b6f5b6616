"""The process the user starts: it opens the API's socket, starts the node in namespaces of its own, and watches it.

Theory of operation. A socket belongs to the network namespace it was made in, so the listening socket is made here, on the
host's loopback, and inherited by the node: its server answers on the host although it lives in a namespace of its own.

There are three processes: this one, `unshare`, and the node, which is process 1 of a PID namespace. Whichever is killed:

- this one: the node's standard input ends, it removes the files and exits; with process 1 the kernel ends all the others
  of the namespace, and the namespaces, and so the network and the mounts, go with the last process in them;
- `unshare`: it was told to take its child along (--kill-child);
- the node: `unshare` ends too. In both cases its standard output ends here, this process removes the files and says so.

That only works while nobody else holds those pipes: the node's children get neither of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from podmirror_sandbox.interpreter import module_path
from podmirror_sandbox.messages import NodeConfig, NodeReport
from podmirror_sandbox.requirements import is_root, unshare_options

OK, NODE_LOST, USAGE, REFUSED = 0, 1, 2, 5

_STOP_SECONDS = 5.0
"""How long the node may take to end by itself: it has only a file to remove."""


@dataclass(frozen=True)
class Options:
    """What `up` was asked for."""

    kubeconfig: Path | None = None
    """Where to write it; None for a private directory."""
    manifests: list[dict[str, Any]] = field(default_factory=list)
    exit_with_stdin: bool = False


def run_sandbox(options: Options) -> int:
    """Run a sandbox until it is told to end; returns the exit code."""
    if options.kubeconfig is not None and not _is_free(options.kubeconfig):
        # The file is removed at the end: it must not be one that was somebody's before.
        return _complain(
            f"{options.kubeconfig} exists and is not empty: the sandbox overwrites no file.", USAGE
        )
    private = options.kubeconfig is None
    path = (
        options.kubeconfig
        or Path(tempfile.gettempdir()) / f"podmirror-sandbox-{secrets.token_hex(8)}/kubeconfig"
    )
    path = path.absolute()
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # for a restart of the API server
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        config = NodeConfig(
            listening=listening.fileno(),
            server=f"http://127.0.0.1:{listening.getsockname()[1]}",
            token=secrets.token_hex(16),
            kubeconfig=str(path),
            private_directory=private,
            is_root=is_root(),
            agent_version=importlib.metadata.version("podmirror"),
            manifests=options.manifests,
        )
        node = _start_node(config)
    try:
        return asyncio.run(_supervise(node, config, options))
    finally:
        _stop_node(node)
        with contextlib.suppress(OSError):
            path.unlink()
        if private:
            with contextlib.suppress(OSError):
                path.parent.rmdir()


def _start_node(config: NodeConfig) -> subprocess.Popen[bytes]:
    argv = ["unshare", *unshare_options(), "--", sys.executable, "-P", "-m", "podmirror_sandbox.node"]
    return subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[config.listening],
        # A Ctrl-C in the terminal is for this process alone, which then ends the node in order.
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": module_path()},
    )


async def _supervise(node: subprocess.Popen[bytes], config: NodeConfig, options: Options) -> int:
    assert node.stdin is not None
    assert node.stdout is not None
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if options.exit_with_stdin:
        try:
            loop.add_reader(sys.stdin.fileno(), _read_stdin, stop)
        except PermissionError:
            return _complain("--exit-with-stdin needs a pipe as standard input.", USAGE)
    output = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(output), node.stdout)
    stopped = asyncio.create_task(stop.wait(), name="stop")
    try:
        with contextlib.suppress(BrokenPipeError):
            node.stdin.write(config.encode())
            node.stdin.flush()
        line = await _first(asyncio.create_task(output.readline(), name="report"), stopped)
        if stop.is_set():
            return OK
        if not line:
            return _complain(f"The sandbox's node ended while starting (exit code {node.wait()}).", NODE_LOST)
        report = NodeReport.decode(line)
        if report.error:
            return _complain(f"The sandbox could not start: {report.error}", REFUSED)
        ready = {"kubeconfig": config.kubeconfig, "server": config.server, "pid": os.getpid()}
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        await _first(asyncio.create_task(output.read(), name="node"), stopped)
        if stop.is_set():
            return OK
        return _complain("The sandbox's node ended unexpectedly; everything in it is gone.", NODE_LOST)
    finally:
        stopped.cancel()
        transport.close()


async def _first(task: asyncio.Task[bytes], stopped: asyncio.Task[bool]) -> bytes:
    """The task's result, or nothing when the stop comes before it."""
    await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        return task.result()
    task.cancel()
    return b""


def _read_stdin(stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        stop.set()


def _stop_node(node: subprocess.Popen[bytes]) -> None:
    assert node.stdin is not None
    # The end has begun: a second Ctrl-C must not cut it short, or files would stay.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(BrokenPipeError):
        node.stdin.close()
    try:
        node.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        node.kill()
        node.wait()


def _is_free(path: Path) -> bool:
    return not path.exists() or (path.is_file() and path.stat().st_size == 0)


def _complain(sentence: str, code: int) -> int:
    sys.stderr.write(f"podmirror-sandbox: {sentence}\n")
    return code
