"""HAR 1.2."""

import gzip
import io
import json
import tracemalloc
from typing import Any

import pytest

from podmirror.inspection.exchange import Exchange, State
from podmirror.inspection.har import HarRenderer
from tests.layer.inspection.exchanges import exchange, summary
from tests.layer.inspection.schemas import HAR


def written(*records: object) -> list[dict[str, Any]]:
    stream = io.StringIO()
    view = HarRenderer(stream)
    for record in records:
        view.receive(record)
    view.finish()
    held = json.loads(stream.getvalue())
    HAR.validate(held)
    entries: list[dict[str, Any]] = held["log"]["entries"]
    return entries


def test_a_har_without_an_entry_is_valid():
    assert written() == []


def test_connections_have_no_place_in_it():
    assert len(written(exchange(), summary(), exchange())) == 2


def test_times_are_those_of_the_exchange():
    (entry,) = written(exchange())

    assert entry["startedDateTime"] == "2023-11-14T22:13:20.123456Z"
    assert {name: entry["timings"][name] for name in ("send", "wait", "receive")} == {
        "send": 1.0,
        "wait": 4.0,
        "receive": 7.0,
    }
    assert entry["time"] == 12.0


@pytest.mark.parametrize(
    ("method", "target", "host", "url"),
    [
        ("GET", "/a?b=c", "shop:8080", "http://shop:8080/a?b=c"),
        ("GET", "http://other/a", "shop", "http://other/a"),
        ("OPTIONS", "*", "shop", "http://shop/"),
        ("CONNECT", "far:443", "shop", "http://far:443/"),
        ("GET", "/a?u=http://x", "", "http://10.0.0.2:80/a?u=http://x"),
        ("GET", "/a#b", "shop", "http://shop/a"),
    ],
)
def test_urls_are_absolute(method: str, target: str, host: str, url: str):
    (entry,) = written(exchange(method, target, request_headers=(("Host", host),)))

    assert entry["request"]["url"] == url


def test_query_cookies_and_redirects_are_read():
    record = exchange(
        target="/a?x=1&y=%20z&x",
        request_headers=(("Cookie", "a=1; b=2"),),
        status=302,
        response_headers=(
            ("Set-Cookie", "sid=xyz; Path=/; HttpOnly; Expires=Wed, 21 Oct 2026 07:28:00 GMT"),
            ("Set-Cookie", ""),
            ("Location", "/b"),
        ),
    )
    (entry,) = written(record)

    assert entry["request"]["queryString"] == [
        {"name": "x", "value": "1"},
        {"name": "y", "value": " z"},
        {"name": "x", "value": ""},
    ]
    assert entry["request"]["cookies"] == [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]
    assert entry["response"]["cookies"] == [
        {"name": "sid", "value": "xyz", "path": "/", "httpOnly": True, "secure": False}
    ]
    assert entry["response"]["redirectURL"] == "/b"


def test_bodies_are_text_or_base64():
    (text,) = written(
        exchange("POST", request_headers=(("Content-Type", "application/json"),), request_body=b"{}")
    )
    (binary,) = written(exchange("POST", request_body=b"\0", response_body=b"\0\1"))

    assert text["request"]["postData"] == {"mimeType": "application/json", "params": [], "text": "{}"}
    assert binary["request"]["postData"]["_encoding"] == "base64"
    assert binary["response"]["content"] == {"size": 2, "mimeType": "text/plain", "text": "\0\1"}


def test_a_coding_is_undone_and_what_it_saved_is_told():
    packed = gzip.compress(b"x" * 1000)
    (entry,) = written(exchange(response_headers=(("Content-Encoding", "gzip"),), response_body=packed))

    assert entry["response"]["bodySize"] == len(packed)
    assert entry["response"]["content"]["size"] == 1000
    assert entry["response"]["content"]["compression"] == 1000 - len(packed)


def test_an_exchange_without_a_response_is_valid_as_browsers_write_it():
    (entry,) = written(exchange(status=None, state=State.UNFINISHED))

    assert entry["response"]["status"] == 0
    assert entry["_state"] == "unfinished"


def test_what_is_missing_is_said():
    record = exchange(state=State.GAP)
    record.request.body.skip(7, on_purpose=False)
    record.request.body.skip(8, on_purpose=True)
    record.upgrade = "websocket"
    (entry,) = written(record)

    assert entry["comment"] == (
        "7 bytes were not seen; 8 bytes were left out by the agent; the connection goes on with websocket"
    )


class Counting(io.TextIOBase):
    """Throws away what it is given."""

    def write(self, text: str) -> int:
        return len(text)


def test_many_entries_need_little_memory():
    view = HarRenderer(Counting())
    record: Exchange = exchange()
    view.receive(record)
    tracemalloc.start()
    try:
        for _ in range(5000):
            view.receive(record)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 200_000
