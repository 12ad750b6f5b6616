"""Capabilities are dropped in processes of their own: there is no way back for the one that did it."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="capabilities are Linux's")

STATUS = """
from pathlib import Path
status = dict(line.split(":\\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
for name in ("CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs"):
    print(name, int(status[name], 16))
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30
    )


def test_every_set_is_empty_and_no_program_gives_any_back():
    done = run("from podmirror_agent.privileges import drop_capabilities\ndrop_capabilities()\n" + STATUS)

    assert done.stdout.split("\n") == ["CapInh 0", "CapPrm 0", "CapEff 0", "CapAmb 0", "NoNewPrivs 1", ""]
    assert done.stderr == ""


def test_no_packet_socket_can_be_opened_afterwards():
    done = run(
        "import socket\n"
        "from podmirror_agent.privileges import drop_capabilities\n"
        "drop_capabilities()\n"
        "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\n"
    )

    assert "PermissionError" in done.stderr


def test_dropping_twice_is_no_error():
    done = run(
        "from podmirror_agent.privileges import drop_capabilities\ndrop_capabilities()\ndrop_capabilities()\n"
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_second_thread_would_keep_its_own():
    done = run(
        "import threading\n"
        "from podmirror_agent.privileges import drop_capabilities\n"
        "release = threading.Event()\n"
        "threading.Thread(target=release.wait).start()\n"
        "try:\n"
        "    drop_capabilities()\n"
        "except RuntimeError as error:\n"
        "    print(error)\n"
        "finally:\n"
        "    release.set()\n" + STATUS
    )

    assert done.stdout.startswith("capabilities must be dropped while the agent has one thread\n")
    assert "NoNewPrivs 0" in done.stdout, "nothing was done by halves"
