"""The options that commands share, as they come out of click."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from podmirror.errors import UsageError
from podmirror.listenaddress import ListenAddress
from podmirror.losslimit import LossLimit
from podmirror.options import delivery_options, ports_option, session_options, target_options
from podmirror.portmap import PortPair
from podmirror.session import SessionOptions
from podmirror.target import Kind, Target
from podmirror_wire.version import __version__


def parse(decorator, *arguments: str):
    """Give what a command with these options is called with, or the message of the refusal."""
    called = []

    @click.command()
    @decorator
    def command(**values):
        called.append(values)

    result = CliRunner().invoke(command, list(arguments), standalone_mode=False)
    if result.exception is not None:
        assert isinstance(result.exception, click.UsageError)
        return result.exception.format_message()
    return called[0]


def test_a_target_alone_gives_the_defaults():
    assert session_options(**parse(target_options, "-t", "pod/web")) == SessionOptions(
        Target(Kind.POD, "web")
    )


def test_the_default_image_is_of_this_version():
    assert SessionOptions(Target(Kind.POD, "web")).agent_image == f"podmirror-agent:{__version__}"


def test_every_option_of_a_session():
    values = parse(
        target_options,
        *("--target", "deployment/web/container/nginx"),
        *("--namespace", "shop"),
        *("--context", "kind"),
        *("--agent-image", "registry/agent:1"),
        *("--image-pull-policy", "Never"),
        *("--agent-name", "podmirror-me"),
        *("--agent-ttl", "5"),
        *("--agent-log-level", "debug"),
        *("--agent-cpu", "0.25"),
        "--allow-host-network",
    )

    assert session_options(**values) == SessionOptions(
        target=Target(Kind.DEPLOYMENT, "web", "nginx"),
        namespace="shop",
        context="kind",
        agent_image="registry/agent:1",
        agent_name="podmirror-me",
        agent_ttl=5.0,
        agent_log_level="debug",
        agent_cpu=0.25,
        image_pull_policy="Never",
        allow_host_network=True,
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-t", "web"), "target 'web' is not understood"),
        (("-t", "node/web"), "kind 'node' is not known"),
        (("-t", "pod/web", "--image-pull-policy", "Sometimes"), "'Sometimes' is not one of"),
        (("-t", "pod/web", "--agent-ttl", "0.5"), "not in the range x>=1"),
        (("-t", "pod/web", "--agent-ttl", "soon"), "is not a valid float"),
        (("-t", "pod/web", "--agent-cpu", "0"), "not in the range x>0"),
        (("-t", "pod/web", "--agent-log-level", "trace"), "'trace' is not one of"),
        (("-t", "pod/web", "--max-pods", "0"), "not in the range x>=1"),
    ],
)
def test_refusals_of_a_session_name_the_value(arguments, words):
    assert words in parse(target_options, *arguments)


def test_the_defaults_of_a_delivery():
    assert parse(delivery_options) == {
        "on_gap": "reset",
        "late_joins": "http",
        "max_loss": None,
        "ledger_file": None,
        "stats": False,
        "metrics": None,
        "progress_style": "auto",
        "verbose": False,
    }


def test_every_option_of_a_delivery():
    arguments = (
        "--on-gap",
        "rejoin",
        "--late-joins",
        "raw",
        "--max-loss",
        "1%",
        "--ledger",
        "-",
        "--progress",
        "plain",
        "-v",
        "--stats",
        *("--metrics", ":9100"),
    )

    assert parse(delivery_options, *arguments) == {
        "on_gap": "rejoin",
        "late_joins": "raw",
        "max_loss": LossLimit(1.0, "percent"),
        "ledger_file": Path("-"),
        "stats": True,
        "metrics": ListenAddress("127.0.0.1", 9100),
        "progress_style": "plain",
        "verbose": True,
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--on-gap", "splice"), "'splice' is not one of"),
        (("--late-joins", "guess"), "'guess' is not one of"),
        (("--max-loss", "much"), "--max-loss 'much' is not understood"),
        (("--ledger", "/"), "is a directory"),
        (("--metrics", "9100"), "address '9100' is not understood"),
        (("--progress", "loud"), "'loud' is not one of"),
    ],
)
def test_refusals_of_a_delivery_name_the_value(arguments, words):
    assert words in parse(delivery_options, *arguments)


def test_a_ledger_that_cannot_be_written_is_refused_before_the_session(tmp_path):
    """Not after hours of mirroring."""
    assert isinstance(parse(delivery_options, "--ledger", str(tmp_path / "missing" / "ledger.json")), str)


def test_a_value_that_is_parsed_already_is_taken_as_it_is():
    """As click gives a default."""
    (port,) = [each for each in click.command()(ports_option(lambda: None)).params if each.name == "pairs"]

    assert port.type.convert(PortPair(80, None), None, None) == PortPair(80, None)


def test_ports():
    assert parse(ports_option, "-p", "80:3000", "--port", "443") == {
        "pairs": (PortPair(80, 3000), PortPair(443, None))
    }
    assert parse(ports_option) == {"pairs": ()}
    assert "port 'http' is not understood" in parse(ports_option, "-p", "http")


def test_one_name_is_not_for_several_agents():
    target = Target.parse("deployment/web")
    with pytest.raises(UsageError, match="--agent-name names one agent"):
        session_options(target=target, all_pods=True, agent_name="podmirror-me")
    assert session_options(target=target, all_pods=True).all_pods
