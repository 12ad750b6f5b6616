"""What a TLS client says in the clear."""

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podmirror_http.clienthello import ClientHello, read_client_hello
from tests.http.hellos import alpn, client_hello, extension, server_name

PADDING = extension(21, bytes(300))


def test_the_server_and_the_protocols_are_read():
    hello = client_hello(PADDING, server_name("shop.example"), alpn("h2", "http/1.1"))

    assert read_client_hello(hello) == ClientHello("shop.example", ("h2", "http/1.1"), whole=True)


@pytest.mark.parametrize("tls", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_what_openssl_says_is_read(tls: ssl.TLSVersion):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = tls
    context.set_alpn_protocols(["h2"])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    talk = context.wrap_bio(incoming, outgoing, server_hostname="a.example")
    with pytest.raises(ssl.SSLWantReadError):
        talk.do_handshake()

    assert read_client_hello(outgoing.read()) == ClientHello("a.example", ("h2",), whole=True)


def test_a_hello_in_several_records_is_put_together():
    hello = client_hello(PADDING, server_name("shop.example"), record_bytes=50)

    assert read_client_hello(hello) == ClientHello("shop.example", (), whole=True)


def test_a_hello_without_extensions_names_nobody():
    assert read_client_hello(client_hello()) == ClientHello("", (), whole=True)


def test_the_beginning_of_a_hello_gives_what_it_holds():
    hello = client_hello(server_name("shop.example"), PADDING, alpn("h2"))

    assert read_client_hello(hello[:200]) == ClientHello("shop.example", (), whole=False)
    assert read_client_hello(hello[:20]) == ClientHello("", (), whole=False)


@pytest.mark.parametrize(
    "other", [b"", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", b"\x16\x03"]
)
def test_what_is_no_hello_gives_nothing(other: bytes):
    assert read_client_hello(other) is None


@given(st.binary(max_size=300), st.integers(0, 300), st.integers(0, 255))
def test_any_bytes_are_read_without_trouble(data: bytes, at: int, byte: int):
    read_client_hello(data)
    hello = bytearray(client_hello(server_name("shop.example"), alpn("h2"), PADDING))
    hello[at % len(hello)] = byte
    read_client_hello(bytes(hello))
    read_client_hello(client_hello(data))
