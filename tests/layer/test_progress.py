"""Progress in each style; stdout is never touched."""

import io
import subprocess
import sys

import pytest
import rich.console

from podmirror.progress import Progress


@pytest.fixture
def terminal(monkeypatch):
    """Let rich write to a terminal that remembers; give what it wrote, without the spinner."""
    written = io.StringIO()
    make = rich.console.Console

    def console(**options):
        assert options.pop("stderr") is True
        return make(file=written, force_terminal=True, width=200, color_system=None, **options)

    monkeypatch.setattr(rich.console, "Console", console)
    return written


def lines_of(written: io.StringIO) -> list[str]:
    """Give the lines that remain: without control sequences, spinner and blank."""
    import re

    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", written.getvalue())
    return [line.strip() for line in plain.splitlines() if line.strip() and "…" not in line]


def use(progress: Progress) -> None:
    with progress.step("resolving pod/web") as step:
        step.done = "resolved pod/web: pod shop/web"
    with progress.step("subscribing port 80"):
        pass
    progress.note("an [odd] word")
    progress.tell(["1 connection.", "Nothing was lost."])


def test_plain(capsys):
    use(Progress("plain"))

    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "podmirror: resolved pod/web: pod shop/web",
        "podmirror: subscribing port 80",
        "podmirror: an [odd] word",
        "podmirror: 1 connection.",
        "podmirror: Nothing was lost.",
    ]


def test_none(capsys):
    use(Progress("none"))

    assert capsys.readouterr() == ("", "")


def test_auto_is_plain_where_there_is_no_terminal(capsys):
    use(Progress("auto"))

    assert capsys.readouterr().err.startswith("podmirror: resolved")


def test_auto_is_rich_on_a_terminal(terminal, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    use(Progress("auto"))

    assert lines_of(terminal)[0] == "✓ resolved pod/web: pod shop/web"


def test_rich(terminal, capsys):
    use(Progress("rich"))

    assert lines_of(terminal) == [
        "✓ resolved pod/web: pod shop/web",
        "✓ subscribing port 80",
        "! an [odd] word",
        "1 connection.",
        "Nothing was lost.",
    ]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "words", ["[red]x[/red]", "[fd00::1]:80", "[/]", "\\[x]", "from [fd00:100:1::2]:40000", ":warning:"]
)
def test_words_are_shown_as_they_are(terminal, words):
    progress = Progress("rich")
    progress.note(words)
    progress.tell([words])
    with progress.step("doing") as step:
        step.done = words

    assert lines_of(terminal) == [f"! {words}", words, f"✓ {words}"]


def test_what_is_being_done_is_shown_as_it_is(terminal):
    with Progress("rich").step("resolving [red]pod"):
        pass

    assert "resolving [red]pod …" in terminal.getvalue()


@pytest.mark.parametrize("style", ["plain", "rich"])
def test_a_step_that_fails_is_not_said_to_be_done(terminal, capsys, style):
    progress = Progress(style)
    with pytest.raises(ValueError, match="no"), progress.step("trying"):
        raise ValueError("no")

    assert "✓" not in terminal.getvalue()
    assert "trying" not in capsys.readouterr().err


def test_rich_is_imported_only_for_a_terminal():
    program = (
        "import sys; from podmirror.progress import Progress; p = Progress('auto')\n"
        "with p.step('x'): pass\n"
        "p.note('y'); p.tell(['z']); assert not [m for m in sys.modules if m.startswith('rich')]"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "podmirror: x\npodmirror: y\npodmirror: z\n")


FIGURES = [("now", "3 [connections]/s"), ("lost", "0")]


def test_figures_are_shown_below_what_is_said_and_leave_nothing(terminal):
    progress = Progress("rich")
    assert progress.is_terminal
    progress.show(FIGURES)
    assert lines_of(terminal)[-2:] == ["now  3 [connections]/s", "lost 0"]
    progress.note("a word")
    progress.show([("now", "4/s")])
    progress.hide()
    progress.hide()
    progress.tell(["the end"])

    assert any(line.endswith("! a word") for line in lines_of(terminal))
    assert lines_of(terminal)[-1] == "the end"
    assert "\x1b[?25h" in terminal.getvalue().rpartition("\x1b[?25l")[2]  # the cursor is back


def test_a_step_while_figures_are_shown(terminal):
    """As when exec finds another port."""
    progress = Progress("rich")
    progress.show(FIGURES)
    with progress.step("subscribing") as step:
        step.done = "subscribed"
    progress.hide()

    assert any(line.endswith("✓ subscribed") for line in lines_of(terminal))


def test_figures_wait_for_the_end_of_a_step(terminal):
    progress = Progress("rich")
    with progress.step("subscribing"):
        progress.show(FIGURES)
    assert "connections" not in terminal.getvalue()
    progress.show(FIGURES)

    assert lines_of(terminal)[-2:] == ["now  3 [connections]/s", "lost 0"]
    progress.hide()


@pytest.mark.parametrize("style", ["plain", "none"])
def test_without_a_terminal_there_is_nothing_to_show_figures_on(capsys, style):
    progress = Progress(style)
    assert not progress.is_terminal
    progress.show(FIGURES)
    progress.hide()

    assert capsys.readouterr() == ("", "")


def test_aside_only_what_leaves_something_behind_is_told_with_its_subject(capsys):
    progress = Progress("plain").aside("pod web-1")
    with progress.step("one") as step:
        step.done = "done"
    with progress.step("two") as step:
        step.done = "left something"
        step.leaves_something = True
    progress.note("by the way")

    assert (
        capsys.readouterr().err == "podmirror: pod web-1: left something\npodmirror: pod web-1: by the way\n"
    )


def test_steps_within_a_step_do_not_spin(terminal):
    progress = Progress("rich")
    with progress.step("outer") as outer:
        with progress.step("inner") as inner:
            inner.done = "inner done"
        outer.done = "outer done"

    assert [line for line in lines_of(terminal) if "done" in line] == ["✓ inner done", "✓ outer done"]
