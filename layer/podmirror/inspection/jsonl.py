"""Exchanges for programs: one JSON object a line.

docs/schemas/exchange.schema.json says what each field means; a field keeps its name and its meaning.
"""

import base64
import json
from typing import Any

from podmirror.inspection.connection import ConnectionSummary
from podmirror.inspection.content import content_of
from podmirror.inspection.exchange import Exchange, Headers, Message
from podmirror.inspection.sink import Sink
from podmirror.inspection.timestamps import timestamp

_MS_DIGITS = 6
"""Nanoseconds, which is what the kernel stamps packets with."""


class JsonLinesRenderer:
    """Writes each exchange as an object; connections that are not HTTP/1 are the business of `-o connections`."""

    def __init__(self, stream: Sink) -> None:
        self._stream = stream
        self._encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode

    def receive(self, record: Exchange | ConnectionSummary) -> None:
        """Write a finished exchange."""
        if isinstance(record, Exchange):
            self._stream.write(self._encode(exchange_object(record)) + "\n")

    def finish(self) -> None:
        """Write what is left."""
        self._stream.flush()


def exchange_object(exchange: Exchange) -> dict[str, Any]:
    """Give an exchange as what JSON can hold."""
    request, response = exchange.request, exchange.response
    return {
        "time": timestamp(exchange.began),
        "pod": exchange.pod,
        "connection": exchange.connection,
        "exchange": exchange.number,
        "initiator": str(exchange.initiator),
        "responder": str(exchange.responder),
        "method": request.method,
        "host": exchange.host,
        "path": exchange.path,
        "target": request.target,
        "http_version": request.version,
        "status": exchange.status,
        "reason": response.reason if response else None,
        "first_byte_ms": _rounded(exchange.first_byte_ms),
        "last_byte_ms": _rounded(exchange.last_byte_ms),
        "state": exchange.state.value,
        "redacted": exchange.redacted,
        "upgrade": exchange.upgrade or None,
        "missing_bytes": exchange.missing_bytes,
        "left_out_bytes": exchange.left_out_bytes,
        "request_bytes": request.size,
        "request_body_bytes": request.body.size,
        "request_headers": _headers(request.headers),
        "request_body": _body(request),
        "response_bytes": response.size if response else None,
        "response_body_bytes": response.body.size if response else None,
        "response_headers": _headers(response.headers) if response else None,
        "response_body": _body(response) if response else None,
    }


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, _MS_DIGITS)


def _headers(headers: Headers) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in headers]


def _body(message: Message) -> dict[str, Any] | None:
    if not message.body.size:
        return None
    content = content_of(message)
    held: dict[str, Any] = {"truncated": content.truncated}
    if content.text is not None:
        held["text"] = content.text
    else:
        held["base64"] = base64.b64encode(content.data).decode("ascii")
    if content.trouble:
        held["still_encoded"] = message.header("content-encoding")
    return held
