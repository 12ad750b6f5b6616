"""Options from the file and the environment, as click gives them to a command."""

import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from podmirror import configuration
from podmirror.configuration import (
    check_names,
    defaults_for,
    load,
    option_name,
    read_environment,
    variable_of,
)
from podmirror.errors import UsageError


@click.command()
@click.option("--agent-image", default="built-in")
@click.option("-p", "--port", "pairs", multiple=True)
@click.option("--agent-ttl", type=float, default=30.0)
@click.option("--stats", is_flag=True)
@click.argument("rest", nargs=-1)
def command(**values):
    click.echo(values)


NAMES = {"mirror": ["agent-image", "port", "agent-ttl", "stats"], "exec": ["port"]}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(configuration.click, "get_app_dir", lambda _: str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    inner = tmp_path / "shop" / "api"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    return tmp_path


def write(folder: Path, text: str) -> Path:
    path = folder / "podmirror.toml"
    path.write_text(text)
    return path


def called_with(text: str, folder: Path, *arguments: str, **environment: str) -> str:
    path = write(folder, text)
    defaults = defaults_for(load(path), "mirror", command)
    result = CliRunner(env=environment).invoke(
        read_environment(command), list(arguments), default_map=defaults, standalone_mode=False
    )
    assert result.exception is None
    return result.output.strip()


# Where it is.


def test_without_a_file_nothing_is_set(folder):
    assert load(None).path is None


def test_the_nearest_file_is_read_and_no_other(folder):
    write(folder / "own", 'agent-image = "own"')
    assert load(None).options("mirror") == {"agent-image": "own"}

    write(folder / "shop", 'agent-image = "above"')
    assert load(None).options("mirror") == {"agent-image": "above"}

    write(folder / "shop" / "api", "stats = true")
    assert load(None).options("mirror") == {"stats": True}


def test_a_file_of_somebody_else_is_not_read_unless_it_is_named(folder, monkeypatch):
    path = write(folder / "shop", "stats = true")
    monkeypatch.setattr(configuration.os, "getuid", lambda: 12_345)
    os.chown(path, 54_321, -1) if os.geteuid() == 0 else None

    with pytest.raises(UsageError, match="belongs to another user"):
        load(None)
    assert load(path).given


@pytest.mark.parametrize("text", ["=", 'a = "', "[mirror"])
def test_a_file_that_is_no_toml_is_refused_by_its_name(folder, text):
    path = write(folder, text)

    with pytest.raises(UsageError, match=r"podmirror.toml cannot be read"):
        load(path)


# What it says.


def test_values_of_every_type(folder):
    said = called_with('agent-ttl = 5\nport = ["80:3000", 90]\nstats = true', folder)

    assert "'agent_ttl': 5.0" in said
    assert "'pairs': ('80:3000', '90')" in said
    assert "'stats': True" in said


def test_one_value_stands_for_a_list_of_one(folder):
    assert "'pairs': ('80',)" in called_with("port = 80", folder)


def test_a_commands_own_table_goes_before_the_top(folder):
    said = called_with('agent-image = "top"\n[mirror]\nagent-image = "own"\n[exec]\nport = "1"', folder)

    assert "'agent_image': 'own'" in said
    assert "'pairs': ()" in said


def test_the_environment_goes_before_the_file_and_the_command_line_before_both(folder):
    text = 'agent-image = "file"'
    variables = {"PODMIRROR_AGENT_IMAGE": "environment", "PODMIRROR_PORT": "80 90:9000"}

    assert "'agent_image': 'environment'" in called_with(text, folder, **variables)
    assert "'pairs': ('80', '90:9000')" in called_with(text, folder, **variables)
    assert "'agent_image': 'given'" in called_with(text, folder, "--agent-image", "given", **variables)


# Names.


def test_options_are_called_as_on_the_command_line():
    names = {option_name(each): variable_of(each) for each in command.params if option_name(each)}

    assert names == {
        "agent-image": "PODMIRROR_AGENT_IMAGE",
        "port": "PODMIRROR_PORT",
        "agent-ttl": "PODMIRROR_AGENT_TTL",
        "stats": "PODMIRROR_STATS",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prot = 80", "'prot' is no option; 'port' is one"),
        ("[miror]\nport = 80", "'miror' is no command; 'mirror' is one"),
        ("[exec]\nstats = true", "'stats' is no option of exec; there are port"),
    ],
)
def test_unknown_names_are_refused_with_what_comes_close(folder, text, words):
    with pytest.raises(UsageError, match=words):
        check_names(load(write(folder, text)), NAMES)


def test_known_names_pass(folder):
    check_names(load(write(folder, "port = 80\n[mirror]\nstats = true")), NAMES)
