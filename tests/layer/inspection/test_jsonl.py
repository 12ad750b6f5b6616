"""Exchanges for programs."""

import base64
import gzip
import io
import json
from typing import Any

from podmirror.inspection.exchange import Exchange, State
from podmirror.inspection.jsonl import JsonLinesRenderer
from tests.layer.inspection.exchanges import exchange, summary
from tests.layer.inspection.schemas import EXCHANGE


def written(record: Exchange) -> dict[str, Any]:
    stream = io.StringIO()
    view = JsonLinesRenderer(stream)
    view.receive(record)
    view.finish()
    (line,) = stream.getvalue().splitlines()
    held: dict[str, Any] = json.loads(line)
    EXCHANGE.validate(held)
    return held


def test_an_exchange_is_an_object_of_documented_fields():
    assert written(exchange()) == {
        "time": "2023-11-14T22:13:20.123456Z",
        "pod": "web-1",
        "connection": 3,
        "exchange": 1,
        "initiator": "10.0.0.1:40000",
        "responder": "10.0.0.2:80",
        "method": "GET",
        "host": "shop",
        "path": "/orders",
        "target": "/orders?id=7",
        "http_version": "1.1",
        "status": 200,
        "reason": "OK",
        "first_byte_ms": 5.0,
        "last_byte_ms": 12.0,
        "state": "complete",
        "redacted": False,
        "upgrade": None,
        "missing_bytes": 0,
        "left_out_bytes": 0,
        "request_bytes": 40,
        "request_body_bytes": 0,
        "request_headers": [{"name": "Host", "value": "shop"}],
        "request_body": None,
        "response_bytes": 56,
        "response_body_bytes": 6,
        "response_headers": [{"name": "Content-Type", "value": "text/plain"}],
        "response_body": {"truncated": False, "text": "seven\n"},
    }


def test_what_was_not_seen_is_null():
    held = written(exchange(status=None, state=State.UNFINISHED))

    assert [held[name] for name in ("status", "first_byte_ms", "last_byte_ms", "response_headers")] == [
        None
    ] * 4


def test_bytes_are_base64():
    held = written(exchange(response_headers=(("Content-Type", "image/png"),), response_body=b"\x89PNG"))

    assert held["response_body"] == {"truncated": False, "base64": base64.b64encode(b"\x89PNG").decode()}


def test_a_coding_is_undone_and_one_that_cannot_be_is_named():
    packed = exchange(response_headers=(("Content-Encoding", "gzip"),), response_body=gzip.compress(b"text"))
    foreign = exchange(response_headers=(("Content-Encoding", "snappy"),), response_body=b"text")

    assert written(packed)["response_body"] == {"truncated": False, "text": "text"}
    assert written(foreign)["response_body"]["still_encoded"] == "snappy"


def test_any_text_is_one_line_of_ascii():
    record = exchange(target="/\u2028\ud800\x1b", response_body="日本\n".encode())
    stream = io.StringIO()
    JsonLinesRenderer(stream).receive(record)

    assert stream.getvalue().isascii()
    assert written(record)["target"] == "/\u2028\ud800\x1b"


def test_connections_are_left_to_their_own_output():
    stream = io.StringIO()
    JsonLinesRenderer(stream).receive(summary())

    assert stream.getvalue() == ""
