"""What a body holds."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podmirror.inspection.content import content_of
from podmirror.inspection.exchange import Body, Message
from tests.layer.inspection.exchanges import body_of


def message(data: bytes, content_type: str = "", coding: str = "", size: int | None = None) -> Message:
    headers = [("content-type", content_type)] if content_type else []
    if coding:
        headers.append(("Content-Encoding", coding))
    return Message("1.1", tuple(headers), 0, body_of(data, size=size))


@pytest.mark.parametrize(
    ("data", "content_type", "text"),
    [
        (b'{"a": 1}', "application/json", '{"a": 1}'),
        ("naïve".encode(), "text/plain; charset=UTF-8", "naïve"),
        ("naïve".encode("latin-1"), 'text/plain; charset="iso-8859-1"', "naïve"),
        ("naïve".encode("latin-1"), "text/html", "naïve"),
        ("日本".encode("shift-jis"), "text/html; charset=shift_jis", "日本"),
        (b"a=b", "application/x-www-form-urlencoded", "a=b"),
        (b"<a/>", "image/svg+xml", "<a/>"),
        (b"plain", "", "plain"),
        (b"plain", "text/plain; charset=no-such-charset", "plain"),
        (b"plain", "text/plain; charset=base64", "plain"),
        (b"\x00\x01\x02", "", None),
        (b"\x89PNG", "image/png", None),
        (b"text", "image/png", None),
        (b"\xff\xfe\x00", "application/octet-stream", None),
    ],
)
def test_text_is_told_from_bytes(data: bytes, content_type: str, text: str | None):
    content = content_of(message(data, content_type))

    assert content.text == text
    assert content.data == data


def test_a_coding_is_undone_before():
    content = content_of(message(gzip.compress(b"[1]"), "application/json", "gzip"))

    assert (content.text, content.is_json, content.truncated) == ("[1]", True, False)


def test_a_coding_that_cannot_be_undone_leaves_bytes_and_the_reason():
    content = content_of(message(b"abc", "text/plain", "snappy"))

    assert (content.text, content.data) == (None, b"abc")
    assert "snappy" in content.trouble


def test_a_character_that_was_cut_is_left_out():
    content = content_of(message("日本".encode()[:-1], "text/plain", size=6))

    assert (content.text, content.truncated) == ("日", True)


def test_more_than_the_limit_is_cut():
    content = content_of(message(b"abcdef", "text/plain"), limit=4)

    assert (content.text, content.truncated) == ("abcd", True)


def test_no_body_has_no_trouble():
    content = content_of(Message("1.1", (("Content-Encoding", "br"),), 0, Body()))

    assert (content.text, content.trouble) == ("", "")


@given(st.binary(max_size=200), st.text(max_size=60), st.sampled_from(["", "gzip", "br"]))
def test_any_body_gives_something(data: bytes, content_type: str, coding: str):
    content_of(message(data, content_type, coding))
    content_of(message(data, f"text/plain; charset={content_type}", coding, size=500))
