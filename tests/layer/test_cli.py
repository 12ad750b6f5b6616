"""The command line as a user meets it: in a process of its own, without a cluster."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from podmirror import cli
from podmirror_wire.version import __version__
from tests.layer.deadlines import PATIENCE_SECONDS

CONTEXTLESS = "/nowhere/kubeconfig"


def environment(kubeconfig: object = CONTEXTLESS) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "PODMIRROR"))}
    return {**kept, "KUBECONFIG": str(kubeconfig), "COLUMNS": "100"}


def podmirror(*arguments: str, kubeconfig: object = CONTEXTLESS) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "podmirror", *arguments],
        capture_output=True,
        text=True,
        env=environment(kubeconfig),
        check=False,
        timeout=20,
        stdin=subprocess.DEVNULL,
    )


def kubeconfig_for(folder: Path, server: str) -> Path:
    path = folder / "kubeconfig"
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "here",
                "contexts": [{"name": "here", "context": {"cluster": "it", "user": "me"}}],
                "clusters": [{"name": "it", "cluster": {"server": server}}],
                "users": [{"name": "me", "user": {"token": "t0ken"}}],
            }
        )
    )
    return path


# Help.


def test_help_lists_the_commands_and_the_exit_codes():
    done = podmirror("--help")

    assert done.returncode == 0
    for words in ("demo ", "exec ", "mirror ", "Exit codes: 0 all went well; 2 usage"):
        assert words in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("command", ["exec", "mirror"])
def test_each_command_has_its_help(command):
    done = podmirror(command, "-h")

    assert done.returncode == 0
    assert "--target" in done.stdout
    assert f"\n  podmirror {command} -t deployment/web -p 80:3000" in done.stdout, (
        "an example has a line of its own"
    )
    assert "--agent [auto|ephemeral|job]" in done.stdout


def test_a_command_that_is_misspelt():
    done = podmirror("mirorr", "-t", "pod/web")

    assert done.returncode == 2
    assert "No such command 'mirorr'. Did you mean 'mirror'?" in done.stderr


@pytest.mark.parametrize(("begun", "words"), [("", {"auto", "ephemeral", "job"}), ("e", {"ephemeral"})])
def test_the_kinds_of_agents_are_completed(begun, words):
    completion = ShellComplete(cli.podmirror, {}, "podmirror", "_PODMIRROR_COMPLETE")

    assert {each.value for each in completion.get_completions(["mirror", "--agent"], begun)} == words


@pytest.mark.parametrize("command", [name for name in cli._COMMANDS if name != "config"])
def test_examples_stand_on_lines_of_their_own(command):
    with click.Context(cli.podmirror, info_name="podmirror") as context:
        found = cli.podmirror.get_command(context, command)
        said = found.get_help(click.Context(found, info_name=command))

    assert "\\b" not in said
    before_options = said[: said.index("Options:")]
    assert all(
        line.startswith("  podmirror ") for line in before_options.splitlines() if "podmirror -" in line
    )
    assert before_options.count("\n  podmirror ") == before_options.count("  podmirror ")


def test_the_version():
    assert podmirror("--version").stdout.strip().endswith(__version__)


def test_help_imports_nothing_slow():
    program = (
        "import sys; sys.argv = ['podmirror', '--help']\n"
        "from podmirror.cli import main; code = main()\n"
        "slow = {'kubernetes', 'aiohttp', 'rich', 'scapy', 'psutil', 'yaml', 'urllib3', 'prometheus_client'}\n"
        "sys.exit(code or ', '.join(sorted(slow & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", ["exec", "mirror"])
def test_the_help_of_a_command_imports_neither_cluster_nor_terminal(command):
    program = (
        f"import sys; sys.argv = ['podmirror', '{command}', '--help']\n"
        "from podmirror.cli import main; code = main()\n"
        "slow = {'kubernetes', 'aiohttp', 'rich', 'scapy', 'prometheus_client'}\n"
        "sys.exit(code or ', '.join(sorted(slow & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_the_list_of_commands_is_made_without_their_modules(monkeypatch):
    monkeypatch.setattr(cli.importlib, "import_module", lambda name: pytest.fail(f"{name} was imported"))
    with click.Context(cli.podmirror, info_name="podmirror") as context:
        said = cli.podmirror.get_help(context)

    assert [line.split()[0] for line in said.partition("Commands:")[2].strip().splitlines()][:1] == ["agents"]
    assert cli.podmirror.list_commands(context) == [
        *(
            "agents",
            "compare",
            "completion",
            "config",
            "demo",
            "doctor",
            "exec",
            "inspect",
            "ls",
            "mirror",
            "rbac",
        )
    ]


# Refusals: one sentence, the right exit code, and no traceback.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("reverse",), "No such command 'reverse'"),
        (("mirror",), "name at least one port: -p REMOTE:LOCAL"),
        (("exec", "true"), "name a target (-t KIND/NAME) or a capture file (-r FILE)"),
        (("mirror", "-p", "80"), "name a target (-t KIND/NAME) or a capture file (-r FILE)"),
        (("inspect", "-t", "pod/x", "-r", "x.pcap"), "-t and -r exclude each other"),
        (("mirror", "-t", "pod/x", "-p", "80", "--speed", "2x"), "--speed and --loop are for a capture file"),
        (
            ("mirror", "-r", "-", "-p", "80", "--loop", "2"),
            "- can be read only once; save it to a file first",
        ),
        (("mirror", "-r", "x.pcap", "-p", "80", "--speed", "fast"), "speed 'fast' is not understood"),
        (("inspect", "-r", "x.pcap", "--sample", "110%"), "'110%' is no share of connections"),
        (("mirror", "-t", "web", "-p", "80"), "target 'web' is not understood"),
        (("mirror", "-t", "node/web", "-p", "80"), "kind 'node' is not known"),
        (("mirror", "-t", "pod/web"), "name at least one port"),
        (("mirror", "-t", "pod/web", "-p", "http"), "port 'http' is not understood"),
        (("mirror", "-t", "pod/web", "-p", "80", "-p", "80:81"), "port 80 of the pod is named twice"),
        (("mirror", "-t", "pod/web", "-p", "80", "--max-loss", "x"), "--max-loss 'x' is not understood"),
        (("exec", "-t", "pod/web"), "Missing argument"),
        (("exec", "-t", "pod/web", "-p", "80", "-p", "80", "--", "true"), "named twice"),
    ],
)
def test_a_command_line_that_asks_for_what_cannot_be(arguments, words):
    done = podmirror(*arguments)

    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


MIRROR = ("mirror", "-t", "pod/web", "-p", "80")


def test_without_a_kubeconfig():
    done = podmirror(*MIRROR)

    assert done.returncode == 5
    assert done.stderr.startswith("podmirror: no usable kubeconfig: ")
    assert "podmirror demo" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", [MIRROR, ("exec", "-t", "pod/web", "--metrics", "x", "--", "true")])
def test_metrics_at_an_address_in_use_are_refused_before_the_cluster_is_asked(command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        arguments = [address if each == "x" else each for each in command]
        if "--metrics" not in arguments:
            arguments += ["--metrics", address]
        done = podmirror(*arguments)

    assert done.returncode == 5
    assert done.stderr == (
        f"podmirror: the metrics cannot be served at {address}: Address already in use; name another address\n"
    )


def test_a_context_that_is_not_there(tmp_path):
    done = podmirror(*MIRROR, "--context", "there", kubeconfig=kubeconfig_for(tmp_path, "http://127.0.0.1:1"))

    assert done.returncode == 5
    assert done.stderr == "podmirror: the kubeconfig has no context 'there'; it has here\n"


def test_a_server_that_is_not_there(tmp_path):
    with socket.socket() as raw:
        raw.bind(("127.0.0.1", 0))
        server = f"http://127.0.0.1:{raw.getsockname()[1]}"
        done = podmirror(*MIRROR, kubeconfig=kubeconfig_for(tmp_path, server))

    assert done.returncode == 5
    assert done.stderr == (
        f"podmirror: the API server of context 'here' ({server}) cannot be reached: [Errno 111] Connection refused; "
        "check that the cluster runs and that KUBECONFIG names the right one\n"
    )


def test_a_command_that_does_not_exist():
    done = podmirror("exec", "-t", "pod/web", "--", "no-such-command")

    assert done.returncode == 127
    assert done.stderr == "podmirror: no-such-command: command not found\n"


def test_a_command_that_may_not_be_executed(tmp_path):
    text = tmp_path / "text"
    text.write_text("no program")
    done = podmirror("exec", "-t", "pod/web", "--", str(text))

    assert done.returncode == 126
    assert done.stderr == f"podmirror: {text}: Permission denied\n"


@pytest.mark.parametrize("command", [MIRROR, ("exec", "-t", "pod/web", "--", "true")])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_the_server_does_not_answer_ends_it_at_once(tmp_path, command, number):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = f"http://127.0.0.1:{silent.getsockname()[1]}"
        running = subprocess.Popen(
            [sys.executable, "-m", "podmirror", *command],
            env=environment(kubeconfig_for(tmp_path, server)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        silent.settimeout(PATIENCE_SECONDS)
        connection, _ = silent.accept()  # it has asked
        running.send_signal(number)
        _, said = running.communicate(timeout=PATIENCE_SECONDS)
        connection.close()

    assert running.returncode in (130, 143)
    assert "Traceback" not in said


def test_every_command_has_the_name_that_the_group_gives_it():
    with click.Context(cli.podmirror) as context:
        for name in cli.podmirror.list_commands(context):
            command = cli.podmirror.get_command(context, name)
            assert command is not None
            assert command.name == name
        assert cli.podmirror.get_command(context, "reverse") is None
