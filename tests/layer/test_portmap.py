"""Ports as they stand on the command line."""

import pytest

from podmirror.errors import UsageError
from podmirror.portmap import PortPair, without_repeats


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("80", PortPair(80, None)),
        ("80:3000", PortPair(80, 3000)),
        ("1:65535", PortPair(1, 65535)),
        ("65535:1", PortPair(65535, 1)),
    ],
)
def test_ports(text, pair):
    assert PortPair.parse(text) == pair


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "80:",
        ":80",
        "0",
        "80:0",
        "65536",
        "80:65536",
        "-1",
        "+80",
        " 80",
        "80 ",
        "http",
        "8_0",
        "٨٠",
        "1:2:3",
        "1.5",
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(UsageError, match="write REMOTE or REMOTE:LOCAL, each between 1 and 65535") as refusal:
        PortPair.parse(text)

    assert repr(text) in str(refusal.value)


def test_several_ports_keep_their_order():
    pairs = [PortPair(443, 8443), PortPair(80, None), PortPair(81, 8443)]

    assert without_repeats(iter(pairs)) == pairs


def test_a_port_that_is_named_twice_is_refused():
    with pytest.raises(UsageError, match="port 80 of the pod is named twice"):
        without_repeats([PortPair(80, 3000), PortPair(81, None), PortPair(80, 3001)])
