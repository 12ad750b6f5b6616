"""Commands of podmirror that run to their end."""

import subprocess

from e2e.cluster import E2ECluster
from tests.stopwatch import Stopwatch

SENTENCE_SECONDS = 5.0
"""Within which a refusal is to be said."""


def run(
    k8s: E2ECluster, *arguments: str, seconds: float = 120.0, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    done = subprocess.run(
        k8s.command(*arguments),
        env={**k8s.environment(), **environment},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def refusal(k8s: E2ECluster, *arguments: str, seconds: float = SENTENCE_SECONDS, **environment: str) -> str:
    """Run a podmirror that must refuse with exit code 5 in time, and give its last words, in one line or several."""
    with Stopwatch() as refusing:
        done = run(k8s, *arguments, **environment)
    assert done.returncode == 5, done.stderr
    assert refusing.seconds < seconds
    return done.stderr.rpartition("podmirror: ")[2]
