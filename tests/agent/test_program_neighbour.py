"""The program as a Job's pod: it listens where it is, and captures in the network of a container of its node."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from podmirror_agent.program import EXIT_ENDED, EXIT_NOT_STARTED
from podmirror_wire.frames import Data, Opened
from tests.agent.conversation import TestLayer
from tests.agent.test_program import (
    CAPABILITY_SETS,
    DEADLINE_SECONDS,
    SECRET,
    Program,
    command,
    last_words,
    line_with,
    statuses,
)
from tests.namespaces import Namespaces

ID = "ab" * 32


@pytest.fixture
def proc(tmp_path, monkeypatch) -> Path:
    """Have a folder stand for the node's processes."""
    folder = tmp_path / "proc"
    folder.mkdir()
    monkeypatch.setenv("PODMIRROR_PROC", str(folder))
    return folder


@contextlib.contextmanager
def beside(wire: Namespaces, proc: Path, folder: Path) -> Iterator[Program]:
    """Run an agent here that captures in the target's namespace."""
    (proc / "7" / "ns").mkdir(parents=True)
    (proc / "7" / "cgroup").write_text(f"0::/kubepods.slice/cri-containerd-{ID}.scope\n")
    (proc / "7" / "ns" / "net").symlink_to(Path("/run/netns") / wire.target.name)
    termination_log = folder / "termination-log"
    termination_log.touch()
    environment = {**os.environ, "PODMIRROR_TERMINATION_LOG": str(termination_log), "PYTHONUNBUFFERED": "1"}
    arguments = command("--container", f"containerd://{ID}")
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, bufsize=1, env=environment)
    with process:
        try:
            port = int(line_with(process, "listens on").rsplit(":", 1)[1])
            yield Program(process, port, termination_log)
        finally:
            if process.poll() is None:
                process.kill()


async def layer_of(program: Program) -> TestLayer:
    layer = TestLayer(*await asyncio.open_connection("127.0.0.1", program.port))
    await layer.authenticate(SECRET)
    return layer


def networks_of(process_id: int) -> set[int]:
    """Give the network namespaces that a process's threads are in."""
    tasks = Path(f"/proc/{process_id}/task").iterdir()
    return {(task / "ns" / "net").stat().st_ino for task in tasks}


@pytest.mark.namespaces
async def test_the_port_it_listens_on_is_free_for_capture_in_another_network(wire, proc, tmp_path):
    with beside(wire, proc, tmp_path) as program, contextlib.ExitStack() as stack:
        async with await layer_of(program) as layer:
            await layer.subscribe(program.port)
            with wire.target.entered():
                listener = stack.enter_context(socket.create_server(("127.0.0.1", program.port)))
                near = stack.enter_context(socket.create_connection(listener.getsockname(), DEADLINE_SECONDS))
            near.sendall(b"hello")

            opened = await layer.receive(Opened)
            data = await layer.receive(Data)

        assert (opened.interface, opened.responder.port) == ("lo", program.port)
        assert bytes(data.payload) == b"hello"


@pytest.mark.namespaces
async def test_no_thread_keeps_a_capability_or_stays_there(wire, proc, tmp_path):
    with beside(wire, proc, tmp_path) as program:
        async with await layer_of(program) as layer:
            await layer.subscribe(8080)
            threads = statuses(program.process.pid)
            networks = networks_of(program.process.pid)

        assert threads
        for status in threads:
            assert [int(status[name], 16) for name in CAPABILITY_SETS] == [0, 0, 0, 0]
            assert status["NoNewPrivs"] == "1"
        assert networks == networks_of(os.getpid())


@pytest.mark.namespaces
def test_sigterm_ends_it(wire, proc, tmp_path):
    with beside(wire, proc, tmp_path) as program:
        program.process.send_signal(signal.SIGTERM)

        assert program.end() == EXIT_ENDED


def test_a_container_that_is_gone_is_told_in_its_last_words(proc, tmp_path):
    code, words, log = last_words(tmp_path, command("--container", ID))

    assert code == EXIT_NOT_STARTED
    assert "no process of container abababababab is on this node: it has ended" in str(words["reason"])
    assert "Traceback" not in log
