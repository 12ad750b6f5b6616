"""What an agent tells of itself, read from folders that stand for /proc and /sys/fs/cgroup."""

import os
import time
from pathlib import Path

import pytest

from podmirror_agent.selfexamination import NAMESPACES, examine, namespaces_of


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def found(tmp_path: Path, **kept: str) -> dict[str, str]:
    return examine(7, kept, target=tmp_path / "target", proc=tmp_path / "proc", cgroup=tmp_path / "cgroup")


def test_of_this_process():
    before = time.process_time_ns()
    findings = examine(7, {"target.ns.net": "4"})

    assert before <= int(findings["cpu_ns"]) <= time.process_time_ns()
    assert findings["packets"] == "7"
    assert 1 << 20 < int(findings["VmRSS"]) <= int(findings["VmHWM"])
    assert int(findings["CapBnd"], 16) >= 0
    for name in NAMESPACES:
        assert findings[f"ns.{name}"] == str(Path(f"/proc/self/ns/{name}").stat().st_ino)
    assert findings["target.ns.net"] == "4"


def test_what_cannot_be_read_is_left_out_or_says_why(tmp_path):
    findings = found(tmp_path)

    assert findings.keys() == {"cpu_ns", "packets", *(f"ns.{name}" for name in NAMESPACES)}
    assert findings["ns.net"] == "- No such file or directory"


def test_status_in_bytes(tmp_path):
    write(
        tmp_path / "proc",
        status="Name:\tpython3\nVmHWM:\t  200 kB\nVmRSS:\t  100 kB\nCapBnd:\t0000000000002000\n",
    )

    findings = found(tmp_path)
    assert (findings["VmRSS"], findings["VmHWM"]) == ("102400", "204800")
    assert findings["CapBnd"] == "0000000000002000"


def test_the_control_group_of_version_2(tmp_path):
    write(
        tmp_path / "cgroup",
        cgroup__procs=f"1\n{os.getpid()}\n",
        memory__current="1000\n",
        memory__max="max\n",
        cpu__max="max 100000\n",
        cpu__stat="usage_usec 5\nuser_usec 3\n",
    )

    findings = found(tmp_path)
    assert {name: text for name, text in findings.items() if name.startswith("cgroup.")} == {
        "cgroup.memory.current": "1000",
        "cgroup.memory.max": "max",
        "cgroup.cpu.max": "max 100000",
        "cgroup.cpu.usage_usec": "5",
    }


@pytest.mark.parametrize(
    ("limit", "quota", "said"),
    [
        ("9223372036854771712", "-1", ("max", "max 100000")),
        ("134217728", "50000", ("134217728", "50000 100000")),
    ],
)
def test_the_control_group_of_version_1_by_the_names_of_version_2(tmp_path, limit, quota, said):
    write(
        tmp_path / "cgroup" / "memory",
        cgroup__procs=f"{os.getpid()}\n",
        memory__usage_in_bytes="1000\n",
        memory__limit_in_bytes=limit,
    )
    write(tmp_path / "cgroup" / "cpuacct", cpuacct__usage="5000\n")
    write(tmp_path / "cgroup" / "cpu", cpu__cfs_quota_us=f"{quota}\n", cpu__cfs_period_us="100000\n")

    findings = found(tmp_path)
    assert (findings["cgroup.memory.max"], findings["cgroup.cpu.max"]) == said
    assert findings["cgroup.memory.current"] == "1000"
    assert findings["cgroup.cpu.usage_usec"] == "5"


def test_the_control_group_of_others_is_not_told_of(tmp_path):
    write(tmp_path / "cgroup", cgroup__procs="999999999\n", memory__current="1000\n")

    assert "cgroup.memory.current" not in found(tmp_path)


def test_the_targets_network(tmp_path):
    net = tmp_path / "target" / "net"
    write(
        net,
        sockstat="sockets: used 9\nTCP: inuse 3 orphan 0\n",
        sockstat6="TCP6: inuse 2\n",
        ip_tables_names="nat\nfilter\n",
    )

    findings = found(tmp_path)
    assert findings["net.sockets"] == "5"
    assert findings["net.tables"] == "nat filter"


def test_namespaces_that_may_not_be_read_say_so(tmp_path):
    (tmp_path / "ns").mkdir()
    (tmp_path / "ns" / "net").write_text("")

    assert namespaces_of(tmp_path)["net"] == str((tmp_path / "ns" / "net").stat().st_ino)
    assert namespaces_of(tmp_path)["pid"].startswith("- ")
