"""tshark as the second opinion."""

import functools
import re
import subprocess
from collections import defaultdict


def tshark(*arguments: str) -> str:
    """Run it, and give what it prints."""
    done = subprocess.run(["tshark", *arguments], capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stderr
    return done.stdout


@functools.cache
def connections_of(path: str) -> dict[frozenset[str], list[dict[str, bytes]]]:
    """Let tshark rebuild every connection: for each pair of ends, in their order, the bytes by sender."""
    numbers = tshark("-r", path, "-T", "fields", "-e", "tcp.stream", "-Y", "tcp").split()
    streams = sorted({int(number) for number in numbers if number.isdigit()})
    follow = [word for number in streams for word in ("-z", f"follow,tcp,raw,{number}")]
    result = defaultdict(list)
    for block in tshark("-r", path, "-q", *follow).split("Follow: tcp,raw")[1:]:
        nodes = re.findall(r"^Node \d: (\S+)$", block, re.MULTILINE)
        said: dict[str, bytes] = dict.fromkeys(nodes, b"")
        for line in re.findall(r"^\t?(?:[0-9a-f]{2})+$", block, re.MULTILINE):
            said[nodes[line.startswith("\t")]] += bytes.fromhex(line)
        result[frozenset(nodes)].append(said)
    return result
