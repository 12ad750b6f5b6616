"""The limit of open files is raised as far as it may be, and never lowered."""

import resource
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("soft", "hard", "then"), [(70, 4096, 4096), (4096, 4096, 4096), (256, 70_000, 65_536)]
)
def test_the_limit_afterwards(soft, hard, then):
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < hard:
        pytest.skip("the hard limit here is lower")
    program = (
        "import resource as r; from podmirror.openfiles import admit_more; "
        f"r.setrlimit(r.RLIMIT_NOFILE, ({soft}, {hard})); admit_more(); print(*r.getrlimit(r.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.split() == [str(then), str(hard)]
