"""`podmirror demo`: the ordinary `exec`, against the sandbox, with a local process that shows what arrives.

The sandbox is a process of its own that ends when its standard input does: whatever becomes of this one, even `kill -9`, the
sandbox goes away with everything in it. It runs in a session of its own, so that a Ctrl-C in the terminal reaches `exec`
first, which takes leave of its agent as it always does.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click

from podmirror.commands import execute
from podmirror.errors import NotStarted
from podmirror.mirroring import Mirroring, ReportOptions
from podmirror.options import progress_option
from podmirror.portmap import PortPair
from podmirror.progress import Progress, Style
from podmirror.session import SessionOptions
from podmirror.target import Kind, Target

APP_PORT = 8080
"""Of the sandbox's app."""

STOP_SECONDS = 10.0
"""For the sandbox to take everything down; then it is killed, and takes everything down in another way."""


@click.command("demo")
@click.option(
    "--requests",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="End after so many mirrored requests.",
)
@click.option(
    "--duration",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="End after so many seconds.",
)
@progress_option
def command(requests: int, duration: float, progress_style: Style) -> int:
    """Show the whole thing on a built-in sandbox: no cluster, no root.

    A small app runs in two pods of the sandbox, and a client in a third sends it requests. `podmirror exec` runs a local
    server with a copy of what one of the two pods receives.
    """
    progress = Progress(progress_style)
    with _sandbox(progress) as kubeconfig:
        os.environ["KUBECONFIG"] = kubeconfig
        arguments = [sys.executable, "-m", "podmirror.demoserver", str(requests), str(duration)]
        progress.tell(
            [f"$ podmirror exec -t deployment/app -p {APP_PORT} -- python -m podmirror.demoserver {requests}"]
        )
        mirroring = Mirroring(progress, ReportOptions(), on_gap="reset")
        pairs = [PortPair(APP_PORT, None)]
        target = SessionOptions(Target(Kind.DEPLOYMENT, "app"))
        return execute.run(arguments, pairs, target, progress, mirroring, outlives_agent=False)


@contextmanager
def _sandbox(progress: Progress) -> Iterator[str]:
    """Run the sandbox with its app, and give the path of its kubeconfig."""
    with progress.step("starting the sandbox") as step:
        sandbox = subprocess.Popen(
            [sys.executable, "-m", "podmirror_sandbox", "up", "--app", "--exit-with-stdin"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert sandbox.stdout is not None, "it is a pipe"
        try:
            ready = sandbox.stdout.readline()
        except BaseException:
            _stop(sandbox)
            raise
        if not ready:
            sandbox.wait()
            raise NotStarted("the sandbox did not start, for the reason that it gave above")
        step.done = "the sandbox runs: two replicas of an app, and a client that sends them requests"
    try:
        yield json.loads(ready)["kubeconfig"]
    finally:
        _stop(sandbox)


def _stop(sandbox: "subprocess.Popen[str]") -> None:
    assert sandbox.stdin is not None, "it is a pipe"
    with suppress(BrokenPipeError):
        sandbox.stdin.close()
    try:
        sandbox.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        sandbox.kill()
        sandbox.wait()
