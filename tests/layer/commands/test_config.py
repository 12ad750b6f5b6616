"""The configuration as it is shown, and where bad values are said to come from: in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.layer.test_cli import environment


def podmirror(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "podmirror", *arguments],
        capture_output=True,
        text=True,
        env={**environment(), "HOME": str(folder / "home"), **variables},
        cwd=folder,
        check=False,
        timeout=20,
    )


def shown(folder: Path, command: str, **variables: str) -> dict[str, dict]:
    done = podmirror(folder, "config", "show", command, "-o", "json", **variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["commands"][command]


def test_every_option_is_shown_with_its_origin(tmp_path):
    file = tmp_path / "podmirror.toml"
    file.write_text('agent-image = "mine"\n[mirror]\nport = ["80:3000"]\n')

    options = shown(tmp_path, "mirror", PODMIRROR_NAMESPACE="shop", PODMIRROR_STATS="1")

    assert options["agent-image"] == {"value": "mine", "from": str(file)}
    assert options["port"] == {"value": ["80:3000"], "from": str(file)}
    assert options["namespace"] == {"value": "shop", "from": "PODMIRROR_NAMESPACE"}
    assert options["agent-ttl"] == {"value": 30.0, "from": "default"}
    assert options["agent"] == {"value": "auto", "from": "default"}
    assert options["target"] == {"value": None, "from": "default"}


def test_one_table_for_all_commands(tmp_path):
    done = podmirror(tmp_path, "config", "show")

    assert done.returncode == 0
    assert "no podmirror.toml was found" in done.stdout
    assert "agent-image" in done.stdout


def test_an_unknown_command_is_refused(tmp_path):
    assert "there is no command 'miror'" in podmirror(tmp_path, "config", "show", "miror").stderr


@pytest.mark.parametrize(
    ("text", "variables", "origin"),
    [
        ('agent-ttl = "soon"', {}, "podmirror.toml"),
        ("", {"PODMIRROR_AGENT_TTL": "soon"}, "PODMIRROR_AGENT_TTL"),
    ],
)
def test_a_bad_value_is_told_with_its_origin(tmp_path, text, variables, origin):
    (tmp_path / "podmirror.toml").write_text(text)

    done = podmirror(tmp_path, "mirror", "-t", "pod/web", "-p", "80", **variables)

    assert done.returncode == 2
    assert "'soon' is not a valid float range." in done.stderr
    assert f"{origin})" in done.stderr


def test_a_file_that_is_near_is_named_and_one_that_is_given_is_not(tmp_path):
    file = tmp_path / "podmirror.toml"
    file.write_text('agent-image = "mine"')
    arguments = ("mirror", "-t", "pod/web", "-p", "80")

    assert f"options of {file} hold here: agent-image" in podmirror(tmp_path, *arguments).stderr
    assert "hold here" not in podmirror(tmp_path, "--config", str(file), *arguments).stderr


def test_help_is_given_whatever_the_file_says(tmp_path):
    (tmp_path / "podmirror.toml").write_text("=")

    assert podmirror(tmp_path, "--help").returncode == 0


@pytest.mark.parametrize("command", ["doctor", "ls", "agents", "rbac"])
def test_without_a_cluster_the_demo_is_named(tmp_path, command):
    done = podmirror(tmp_path, command)

    assert done.returncode == 5
    assert done.stderr.startswith("podmirror: no usable kubeconfig")


@pytest.mark.parametrize("command", ["doctor", "ls", "agents", "rbac", "config", "completion"])
def test_the_help_of_each_command(tmp_path, command):
    assert podmirror(tmp_path, command, "--help").returncode == 0
