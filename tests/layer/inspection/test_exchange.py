"""The record of an exchange."""

import pytest

from podmirror.inspection.exchange import Body
from tests.layer.inspection.exchanges import exchange


def test_a_body_is_kept_up_to_its_limit():
    body = Body()

    assert [body.receive(b"abc", 5), body.receive(b"def", 5), body.receive(b"g", 5)] == [3, 2, 0]
    assert (bytes(body.kept), body.size, body.truncated) == (b"abcde", 7, True)


def test_a_body_is_never_kept_across_a_hole():
    body = Body()
    body.receive(b"abc", 100)
    body.skip(10, on_purpose=False)
    body.receive(b"def", 100)
    body.skip(4, on_purpose=True)

    assert (bytes(body.kept), body.size) == (b"abc", 20)
    assert (body.missing, body.left_out) == (10, 4)


@pytest.mark.parametrize(
    ("method", "target", "host", "path"),
    [
        ("GET", "/a?b", "shop:80", "/a"),
        ("GET", "http://user:pw@other:81/a/b?c", "other:81", "/a/b"),
        ("GET", "http://other?c=/", "other", "/"),
        ("GET", "http://[oops/a", "[oops", "/a"),
        ("OPTIONS", "*", "shop:80", "*"),
        ("CONNECT", "far:443", "far:443", "far:443"),
    ],
)
def test_host_and_path_follow_the_form_of_the_target(method: str, target: str, host: str, path: str):
    record = exchange(method, target, request_headers=(("host", "shop:80"),))

    assert (record.host, record.path) == (host, path)


def test_latencies_count_from_the_requests_first_byte():
    record = exchange()

    assert (record.first_byte_ms, record.last_byte_ms) == (5.0, 12.0)
    assert record.is_over


def test_a_message_without_an_end_is_as_large_as_what_was_seen():
    record = exchange(request_body=b"12345")
    record.request.wire_bytes = 0

    assert record.request.size == 45


def test_an_exchange_without_a_response_has_no_latency():
    record = exchange(status=None)

    assert (record.status, record.first_byte_ms, record.last_byte_ms) == (None, None, None)
    assert not record.is_over
