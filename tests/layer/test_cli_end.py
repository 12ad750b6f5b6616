"""How the command line ends: what `main` makes of errors, of interrupts, and of what a command gives."""

import signal
import subprocess
import sys

import click
import pytest

from podmirror import cli
from podmirror.errors import AgentLost, NotStarted, PodmirrorError, TooMuchLoss, UsageError
from podmirror_wire.version import __version__
from tests.layer.deadlines import PATIENCE_SECONDS


@pytest.fixture
def ending(monkeypatch):
    """Let the command line end so, and give the exit code."""

    def end(outcome: object) -> int:
        def run(**_):
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        monkeypatch.setattr(cli, "podmirror", type("Group", (), {"main": staticmethod(run)}))
        monkeypatch.setattr(cli.threading, "active_count", lambda: 1)
        handler = signal.getsignal(signal.SIGINT)
        try:
            return cli.main()
        finally:
            signal.signal(signal.SIGINT, handler)

    return end


@pytest.mark.parametrize(
    "error",
    [PodmirrorError("why"), UsageError("why"), TooMuchLoss("why"), AgentLost("why"), NotStarted("why")],
)
def test_an_error_of_ours_is_said_in_its_own_words(ending, capsys, error):
    assert ending(error) == error.exit_code
    assert capsys.readouterr() == ("", "podmirror: why\n")


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_has_its_own_exit_code(ending, interrupt, capsys):
    assert ending(interrupt) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (42, 42), ("text", 0)])
def test_a_command_gives_its_exit_code(ending, result, code):
    assert ending(result) == code


def test_a_fault_of_our_own_is_admitted(ending, capsys, monkeypatch):
    monkeypatch.delenv("PODMIRROR_DEBUG", raising=False)

    assert ending(ZeroDivisionError("oh")) == 1
    said = capsys.readouterr().err
    assert "ZeroDivisionError('oh')" in said
    assert "PODMIRROR_DEBUG=1" in said


def test_a_fault_of_our_own_can_be_seen(ending, monkeypatch):
    monkeypatch.setenv("PODMIRROR_DEBUG", "1")

    with pytest.raises(ZeroDivisionError):
        ending(ZeroDivisionError("oh"))


def run(program: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program to its end."""
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
    )


def test_interrupts_during_the_shutdown_are_not_heard():
    program = (
        "import atexit, os, signal, sys; sys.argv = ['podmirror', '--version']\n"
        "from podmirror.cli import main\n"
        "atexit.register(lambda: (os.kill(os.getpid(), signal.SIGINT), print('cleaned up')))\n"
        "sys.exit(main())"
    )
    done = run(program)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("cleaned up\n")


def test_an_interrupt_during_the_imports_ends_it_without_a_word():
    program = (
        "import os, signal, sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'podmirror.cli': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "sys.argv = ['podmirror', '--version']\n"
        "from podmirror.__main__ import main\n"
        "sys.exit(main())"
    )
    done = run(program)

    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_an_interrupt_while_another_is_answered(ending, monkeypatch):
    def answer(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_say", answer)

    assert ending(NotStarted("why")) == 130


def test_with_a_thread_left_the_process_ends_all_the_same(tmp_path):
    """A call to the API server may never return, and Python's shutdown must neither wait for it nor trip over it."""
    program = (
        "import sys, threading; sys.argv = ['podmirror', '--version']\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
        "from podmirror.cli import main; sys.exit(main())"
    )
    done = run(program)

    assert (done.returncode, done.stderr) == (0, "")
    assert __version__ in done.stdout
