"""HTTP/1 conversations for tests: what is said in them, and as which bytes."""

import itertools
from dataclasses import dataclass

from hypothesis import strategies as st

from podmirror_http.pairing import Body, Conversation, Span

REQUEST, RESPONSE = 0, 1


@dataclass(frozen=True)
class Said:
    """An exchange, as its two ends would tell it."""

    method: str
    target: str
    content: bytes
    request: bytes
    status: int
    answer: bytes
    response: bytes
    interim: int = 0


def chunked(content: bytes, size: int, trailers: bytes = b"") -> bytes:
    chunks = [content[at : at + size] for at in range(0, len(content), size)]
    lines = b"".join(b"%x;n=v\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return lines + b"0\r\n" + trailers + b"\r\n"


@st.composite
def said(draw) -> Said:
    method = draw(st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "BREW"]))
    target = draw(st.sampled_from(["/", "/a?b=c", "*", "http://shop/x", "/\xe9"]))
    content = draw(st.binary(max_size=60)) if method != "HEAD" else b""
    size = draw(st.integers(1, 30))
    trailers = draw(st.sampled_from([b"", b"X-Sum: 1\r\n"]))
    line = f"{method} {target} HTTP/1.1\r\nHost: shop\r\nX-Case: v\r\n".encode("latin-1")
    if draw(st.booleans()):
        request = line + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(content, size, trailers)
    elif content or draw(st.booleans()):
        request = line + b"Content-Length: %d\r\n\r\n" % len(content) + content
    else:
        request = line + b"\r\n"
    status = draw(st.sampled_from([200, 204, 304, 404, 500]))
    bodiless = method == "HEAD" or status in (204, 304)
    answer = b"" if bodiless else draw(st.binary(max_size=60))
    interim = draw(st.integers(0, 2))
    head = b"HTTP/1.1 100 Continue\r\n\r\n" * interim + b"HTTP/1.1 %d Fine \xe9\r\nServer: x\r\n" % status
    if bodiless:
        response = head + draw(st.sampled_from([b"\r\n", b"Content-Length: 9\r\n\r\n"]))
        response = response.replace(b"Content-Length: 9\r\n", b"") if status == 204 else response
    elif draw(st.booleans()):
        response = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(answer, size, trailers)
    else:
        response = head + b"Content-Length: %d\r\n\r\n" % len(answer) + answer
    return Said(method, target, content, request, status, answer, response, interim)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


def read(conversation: Conversation, steps: list[tuple[int, bytes]], time: int = 0) -> list:
    """Give the events of bytes of either direction, one behind the other."""
    return [event for side, data in steps for event in conversation.receive_data(side, data, time)]


def joined(events: list) -> list:
    """Let bodies and spans that follow each other be one."""
    told: list = []
    for event in events:
        last = told[-1] if told else None
        same = isinstance(event, Body) and isinstance(last, Body) and event.exchange == last.exchange
        if same and event.direction == last.direction:
            told[-1] = Body(last.exchange, last.direction, last.content + event.content)
        else:
            told.append(event)
    return told


def without_spans(events: list) -> list:
    return joined([event for event in events if not isinstance(event, Span)])


def bytes_of(events: list, direction: int) -> bytes:
    return b"".join(each.raw for each in events if isinstance(each, Span) and each.direction == direction)
