"""Bodies without their secrets, however they are cut."""

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from podmirror_http.bodyredaction import MAX_BODY_BYTES, MAX_TOKEN_BYTES, BodyRedaction
from podmirror_http.pseudonyms import Pseudonyms
from podmirror_http.redaction import Rules
from tests.http.exchanges import pieces

KEY = bytes(32)
PROSE = st.text("bear er\n{}:", max_size=30).map(str.encode)
TOKEN = st.text("ABCXYZ019-._~", min_size=4, max_size=40).map(str.encode)


def body(*rules, headers=()):
    return BodyRedaction(Pseudonyms(KEY), Rules.parse(list(rules)), headers)


def size_of(passed):
    return sum(each if isinstance(each, int) else len(each) for each in passed)


def content_of(passed):
    return b"".join(b"\0" * each if isinstance(each, int) else each for each in passed)


@given(
    st.lists(st.tuples(PROSE, TOKEN), max_size=4),
    st.sampled_from([b" ", b"  ", b"%20", b"+"]),
    st.lists(st.integers(0, 400), max_size=10),
)
def test_a_bearer_token_never_passes(parts, space, cuts):
    content = b"".join(prose + b"Bearer" + space + token + b"," for prose, token in parts)
    redaction = body()
    passed = [each for piece in pieces(content, cuts) for each in redaction.receive_content(piece)]
    passed += redaction.receive_end()
    assert redaction.held == 0
    assert size_of(passed) == len(content)
    assert not any(isinstance(each, int) for each in passed)
    for _, token in parts:
        assert token not in content_of(passed)
    whole = body()
    assert content_of([*whole.receive_content(content), *whole.receive_end()]) == content_of(passed)


@given(TOKEN, st.integers(0, 40), st.integers(1, 40))
def test_the_rest_of_a_token_behind_a_gap_does_not_pass(token, at, length):
    content = b"see Bearer " + token + b", end"
    at = min(at, len(content) - 1)
    redaction = body()
    passed = [*redaction.receive_content(content[:at]), *redaction.receive_missing()]
    rest = content[at + length :]
    passed += [*redaction.receive_content(rest), *redaction.receive_end()]
    assert size_of(passed) == at + len(rest)
    kept = b"|".join(each for each in passed if isinstance(each, bytes))
    for size in range(4, len(token) + 1):
        assert token[-size:] not in kept


def test_a_token_without_an_end_is_left_out():
    redaction = body()
    passed = redaction.receive_content(b"x Bearer ")
    for _ in range(10):
        passed += redaction.receive_content(b"A" * 5000)
        assert redaction.held <= MAX_TOKEN_BYTES + 5000
    passed += redaction.receive_content(b"A, and on")
    passed += redaction.receive_end()
    assert b"A" not in content_of(passed)
    assert content_of(passed).endswith(b", and on")
    assert size_of(passed) == 9 + 50000 + 9


@given(
    st.dictionaries(
        st.sampled_from(["user", "token", "n"]), st.text(max_size=12) | st.integers() | st.booleans()
    ),
    st.lists(st.integers(0, 400), max_size=10),
)
def test_a_json_value_is_replaced_and_the_text_stays_json(value, cuts):
    content = json.dumps({"data": [value]}).encode()
    redaction = body("json:$.data[*].token", headers=(("Content-Type", "application/json"),))
    passed = [each for piece in pieces(content, cuts) for each in redaction.receive_content(piece)]
    assert passed == []
    redacted = content_of(redaction.receive_end())
    assert len(redacted) == len(content)
    read = json.loads(redacted)["data"][0]
    if "token" in value:
        assume(value["token"] != "")
        stand_in = read.pop("token")
        assert stand_in != value.pop("token") or isinstance(stand_in, bool)
    assert read == value


@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_json_behind_a_byte_order_mark_is_json(kind):
    redaction = body("json:$.token", headers=(("Content-Type", kind),))
    content = b"\xef\xbb\xbf" + b'{"token": "t0ken-t0ken"}'
    passed = content_of([*redaction.receive_content(content), *redaction.receive_end()])

    assert passed.startswith(b'\xef\xbb\xbf{"token": "')
    assert b"t0ken" not in passed


def test_a_pattern_is_replaced():
    redaction = body(r"re:card=(\d+)")
    redaction.receive_content(b"a=1&card=4111")
    redaction.receive_content(b"22&b=2")
    (redacted,) = redaction.receive_end()
    assert isinstance(redacted, bytes)
    assert redacted.startswith(b"a=1&card=")
    assert redacted.endswith(b"&b=2")
    assert b"4111" not in redacted


def test_a_pattern_matches_bytes_that_are_no_text():
    redaction = body("re:card=([^&]+)")
    redaction.receive_content(b"card=4111\xe91111&b=2")

    (redacted,) = redaction.receive_end()
    assert redacted.endswith(b"&b=2")
    assert b"1111" not in redacted


def test_no_pattern_takes_more_than_linear_time():
    redaction = body(r"re:(a+)+b|(a|a)*c")
    content = b"a" * 100_000
    redaction.receive_content(content)

    assert redaction.receive_end() == [content]


@pytest.mark.parametrize(
    "headers", [(("Content-Encoding", "gzip"),), (("Transfer-Encoding", "gzip, chunked"),)]
)
def test_coded_content_is_left_out(headers):
    redaction = body(headers=headers)
    assert [
        *redaction.receive_content(b"abc"),
        *redaction.receive_content(b"de"),
        *redaction.receive_end(),
    ] == [3, 2]


def test_a_long_body_is_left_out_where_it_would_have_to_be_whole():
    redaction = body("json:$.a")
    passed = redaction.receive_content(b"x" * MAX_BODY_BYTES)
    passed += redaction.receive_content(b"y")
    assert (size_of(passed), redaction.held) == (MAX_BODY_BYTES + 1, 0)
    assert redaction.receive_content(b"z") == [1]
    assert content_of(body().receive_content(b"x " * MAX_BODY_BYTES)) == b"x " * MAX_BODY_BYTES


def test_json_that_cannot_be_read_is_left_out():
    redaction = body("json:$.a")
    redaction.receive_content(b'{"a": "secret')
    assert redaction.receive_end() == [13]
    redaction = body("json:$.a")
    redaction.receive_content(b'{"b": "hello')
    assert redaction.receive_end() == [b'{"b": "hello']


def test_a_body_with_a_gap_is_left_out_where_it_would_have_to_be_whole():
    redaction = body("re:x")
    redaction.receive_content(b"abc")
    assert redaction.receive_missing() == [3]
    assert redaction.receive_content(b"de") == [2]
