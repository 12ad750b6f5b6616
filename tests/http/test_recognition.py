"""Recognising TLS by an initiator's first bytes."""

import pytest

from podmirror_http.recognition import looks_like_tls


@pytest.mark.parametrize("minor", range(5))
def test_a_handshake_record_of_each_version_is_tls(minor):
    assert looks_like_tls(bytes((0x16, 3, minor)) + b"\x02\x00\x01\x00\x01\xfc") is True


def test_three_bytes_decide():
    record = bytes.fromhex("16 03 01")

    assert [looks_like_tls(record[:size]) for size in range(4)] == [None, None, None, True]


@pytest.mark.parametrize(
    "beginning",
    [
        b"GET / HTTP/1.1\r\n",
        bytes.fromhex("15 03 01"),  # an alert
        bytes.fromhex("17 03 03"),  # application data, in the middle of a session
        bytes.fromhex("16 02 00"),  # SSL 2 has no such record
        bytes.fromhex("16 03 05"),  # no version of TLS
        bytes.fromhex("16 04"),
        b"\x00",
    ],
)
def test_anything_else_is_not(beginning):
    assert looks_like_tls(beginning) is False
