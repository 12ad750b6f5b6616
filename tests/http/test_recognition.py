"""Recognising TLS and HTTP/2 by an initiator's bytes."""

import pytest

from podmirror_http.recognition import HTTP2_PREFACE, begins_http2, looks_like_tls, looks_like_tls_record


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


# In the midst of a connection.


@pytest.mark.parametrize("kind", [0x14, 0x15, 0x16, 0x17])
def test_any_record_of_tls_is_one_in_the_midst(kind):
    record = bytes((kind, 3, 3, 0, 40)) + bytes(40)

    assert [looks_like_tls_record(record[:size]) for size in range(6)] == [None] * 5 + [True]


@pytest.mark.parametrize(
    "beginning",
    [
        b"GET / HTTP/1.1\r\n",
        bytes.fromhex("13"),
        bytes.fromhex("18 03"),
        bytes.fromhex("17 03 04"),
        bytes.fromhex("17 03 00"),
        bytes.fromhex("17 03 03 00 00"),
        bytes.fromhex("17 03 03 48 01"),
    ],
)
def test_anything_else_is_no_record(beginning):
    assert looks_like_tls_record(beginning) is False


def test_the_preface_of_http2_is_known_by_its_last_byte():
    assert [begins_http2(HTTP2_PREFACE[:size]) for size in range(24)] == [None] * 24
    assert begins_http2(HTTP2_PREFACE) is True
    assert begins_http2(HTTP2_PREFACE + b"\x00\x00\x00\x04") is True


@pytest.mark.parametrize("beginning", [b"GET", b"PRI * HTTP/1.1", b"\x00", HTTP2_PREFACE[:-1] + b"\r"])
def test_other_bytes_are_no_preface(beginning):
    assert begins_http2(beginning) is False
