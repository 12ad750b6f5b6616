"""HAR 1.2, for a browser's network panel (http://www.softwareishard.com/blog/har-12-spec/).

A HAR is one JSON object, which is written here as its entries come: its end, which makes it valid, is written by `finish`, so
that must be called whatever ends the looking. Fields of our own begin with an underscore, as the specification asks.
"""

import base64
import json
from typing import Any
from urllib.parse import parse_qsl

from podmirror.inspection.connection import ConnectionSummary
from podmirror.inspection.content import Content, content_of
from podmirror.inspection.exchange import NANOSECONDS_PER_MS, Exchange, Headers, Message, Response
from podmirror.inspection.sink import Sink
from podmirror.inspection.timestamps import timestamp
from podmirror_wire.version import __version__

UNKNOWN = -1
"""What HAR says of a size or a time that is not known."""


class HarRenderer:
    """Writes exchanges as the entries of a HAR."""

    def __init__(self, stream: Sink) -> None:
        self._stream = stream
        self._entries = 0
        creator = json.dumps({"name": "podmirror", "version": __version__})
        stream.write(f'{{"log":{{"version":"1.2","creator":{creator},"entries":[')

    def receive(self, record: Exchange | ConnectionSummary) -> None:
        """Write a finished exchange; HAR has no place for anything else."""
        if not isinstance(record, Exchange):
            return
        self._stream.write(",\n" if self._entries else "\n")
        self._entries += 1
        self._stream.write(json.dumps(entry(record), separators=(",", ":")))

    def finish(self) -> None:
        """Write the end."""
        self._stream.write("\n]}}\n")
        self._stream.flush()


def entry(exchange: Exchange) -> dict[str, Any]:
    """Give an exchange as an entry."""
    timings = _timings(exchange)
    made: dict[str, Any] = {
        "startedDateTime": timestamp(exchange.began),
        "time": sum(max(0, timings[name]) for name in ("send", "wait", "receive")),
        "request": _request(exchange),
        "response": _response(exchange.response),
        "cache": {},
        "timings": timings,
        "serverIPAddress": exchange.responder.address,
        "connection": f"{exchange.pod}/{exchange.connection}".lstrip("/"),
        "_pod": exchange.pod,
        "_initiator_address": str(exchange.initiator),
        "_state": exchange.state.value,
        "_redacted": exchange.redacted,
    }
    comment = _comment(exchange)
    if comment:
        made["comment"] = comment
    return made


def _request(exchange: Exchange) -> dict[str, Any]:
    request = exchange.request
    made: dict[str, Any] = {
        "method": request.method,
        "url": _url(exchange),
        **_common(request),
        "cookies": _pairs(request.header("cookie")),
        "queryString": [
            {"name": name, "value": value}
            for name, value in parse_qsl(
                request.target.partition("?")[2].partition("#")[0], keep_blank_values=True
            )
        ],
    }
    if request.body.size:
        made["postData"] = _post_data(content_of(request))
    return made


def _post_data(content: Content) -> dict[str, Any]:
    made: dict[str, Any] = {"mimeType": content.media_type, "params": []}
    if content.text is not None:
        made["text"] = content.text
    else:  # for bytes HAR has no place in a request
        made["text"] = base64.b64encode(content.data).decode("ascii")
        made["_encoding"] = "base64"
    return made


def _response(response: Response | None) -> dict[str, Any]:
    if response is None:
        return {
            "status": 0,
            "statusText": "",
            "httpVersion": "",
            "cookies": [],
            "headers": [],
            "content": {"size": 0, "mimeType": ""},
            "redirectURL": "",
            "headersSize": UNKNOWN,
            "bodySize": UNKNOWN,
        }
    return {
        "status": response.status,
        "statusText": response.reason,
        **_common(response),
        "cookies": _set_cookies(response.headers),
        "content": _content(response),
        "redirectURL": response.header("location"),
    }


def _common(message: Message) -> dict[str, Any]:
    return {
        "httpVersion": f"HTTP/{message.version}",
        "headers": [{"name": name, "value": value} for name, value in message.headers],
        "headersSize": message.head_bytes,
        "bodySize": message.body.size,
    }


def _content(response: Response) -> dict[str, Any]:
    content = content_of(response)
    whole = not content.truncated and not content.trouble
    made: dict[str, Any] = {
        "size": len(content.data) if whole else response.body.size,
        "mimeType": content.media_type or "application/octet-stream",
    }
    if whole and len(content.data) != response.body.size:
        made["compression"] = len(content.data) - response.body.size
    if content.text is not None:
        made["text"] = content.text
    elif content.data:
        made["text"] = base64.b64encode(content.data).decode("ascii")
        made["encoding"] = "base64"
    if not whole:
        made["comment"] = content.trouble or "not whole"
    return made


def _timings(exchange: Exchange) -> dict[str, float]:
    sent = exchange.request.ended or exchange.began
    first = exchange.first_byte
    last = exchange.response.ended if exchange.response else None
    return {
        "blocked": UNKNOWN,
        "dns": UNKNOWN,
        "connect": UNKNOWN,
        "ssl": UNKNOWN,
        "send": _milliseconds(exchange.began, sent if first is None else min(sent, first)),
        "wait": 0 if first is None else _milliseconds(sent, first),
        "receive": 0 if first is None or last is None else _milliseconds(first, last),
    }


def _milliseconds(begin: int, end: int) -> float:
    return round(max(0, end - begin) / NANOSECONDS_PER_MS, 6)


def _url(exchange: Exchange) -> str:
    target = exchange.request.target.partition("#")[0]
    if "://" in target.partition("?")[0]:
        return target
    host = exchange.host.partition("#")[0] or str(exchange.responder)
    return f"http://{host}{target}" if target.startswith("/") else f"http://{host}/"


def _pairs(header: str) -> list[dict[str, str]]:
    fields = (field.strip().partition("=") for field in header.split(";") if field.strip())
    return [{"name": name.strip(), "value": value.strip()} for name, _, value in fields]


def _set_cookies(headers: Headers) -> list[dict[str, Any]]:
    cookies: list[dict[str, Any]] = []
    for name, value in headers:
        pairs = _pairs(value) if name.lower() == "set-cookie" else []
        if not pairs:
            continue
        cookie: dict[str, Any] = dict(pairs[0])
        attributes = {pair["name"].lower(): pair["value"] for pair in pairs[1:]}
        cookie |= {each: attributes[each] for each in ("path", "domain") if each in attributes}
        cookie |= {"httpOnly": "httponly" in attributes, "secure": "secure" in attributes}
        cookies.append(cookie)
    return cookies


def _comment(exchange: Exchange) -> str:
    notes = []
    if exchange.missing_bytes:
        notes.append(f"{exchange.missing_bytes} bytes were not seen")
    if exchange.left_out_bytes:
        notes.append(f"{exchange.left_out_bytes} bytes were left out by the agent")
    if exchange.upgrade:
        notes.append(f"the connection goes on with {exchange.upgrade}")
    return "; ".join(notes)
