"""Addresses to listen on, as they stand on the command line."""

import pytest

from podmirror.errors import UsageError
from podmirror.listenaddress import ListenAddress


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (":9100", "127.0.0.1", 9100),
        ("0.0.0.0:9100", "0.0.0.0", 9100),
        ("localhost:0", "localhost", 0),
        ("[::1]:65535", "::1", 65535),
    ],
)
def test_addresses(text, host, port):
    assert ListenAddress.parse(text) == ListenAddress(host, port)


@pytest.mark.parametrize(
    "text", ["", "9100", "host", ":", ":65536", ":-1", "::1:9100", "[::1]", ":٣", "a:b:1", " :1"]
)
def test_anything_else_is_refused(text):
    with pytest.raises(UsageError, match="write HOST:PORT, :PORT or"):
        ListenAddress.parse(text)


@pytest.mark.parametrize("text", ["127.0.0.1:80", "[::1]:80"])
def test_it_is_written_as_it_is_read(text):
    assert str(ListenAddress.parse(text)) == text
