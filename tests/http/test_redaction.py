"""Heads without their secrets: of the same length, with the same names, and never the original values."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from podmirror_http.heads import read_request_head, read_response_head
from podmirror_http.pseudonyms import Pseudonyms
from podmirror_http.redaction import BadRules, HeadRedaction, Rules, format_option, parse_option

KEY = bytes(range(32))
TOKENS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ-._~0189", min_size=6, max_size=80)


def redact(lines, *rules):
    redaction = HeadRedaction(Pseudonyms(KEY), Rules.parse(list(rules)))
    raw = "\r\n".join([*lines, "", ""]).encode()
    read = read_response_head if raw.startswith(b"HTTP") else read_request_head
    redacted = redaction.redact_head(read(raw))
    assert redacted is not None
    assert len(redacted) == len(raw)
    read(redacted)
    return redacted.decode().split("\r\n")[1 : len(lines)]


@given(st.binary(max_size=200))
def test_a_stand_in_has_the_length_of_the_value_and_never_is_it(value):
    given_one, given_again = Pseudonyms(KEY).of(value), Pseudonyms(KEY).of(value)
    assert given_one == given_again
    assert len(given_one) == len(value)
    assert not value or given_one != value


@given(st.from_regex(r"-?[1-9][0-9]{0,12}", fullmatch=True))
def test_a_number_is_replaced_by_another(value):
    stand_in = Pseudonyms(KEY).of_number(value.encode())
    assert stand_in.isdigit()
    assert (len(stand_in), stand_in != value.encode()) == (len(value), True)


def test_other_values_and_other_keys_give_other_stand_ins():
    assert Pseudonyms(KEY).of(b"secret-value") != Pseudonyms(KEY).of(b"secret-valuf")
    assert Pseudonyms(KEY).of(b"secret-value") != Pseudonyms(bytes(32)).of(b"secret-value")


@given(
    TOKENS,
    st.sampled_from(
        [
            "Authorization",
            "proxy-authorization",
            "X-Api-Key",
            "X-AUTH-TOKEN",
            "X-Amz-Security-Token",
            "apikey",
        ]
    ),
)
def test_a_token_is_gone_wherever_it_stands(token, name):
    assume(token.lower() not in "redacted")
    lines = [
        f"GET /?access_token={token}&q=1 HTTP/1.1",
        "Host: shop",
        f"{name}: Bearer {token}",
        f"X-Echo: it was Bearer {token}",
        f"Cookie: a={token}; b={token}x",
    ]
    redacted = redact(lines)
    assert token not in "\n".join(redacted)
    assert redacted[0] == "Host: shop"
    stand_in = redacted[2].removeprefix("X-Echo: it was Bearer ")
    if "uthorization" in name:
        assert redacted[1] == f"{name}: Bearer {stand_in}"
    assert redacted[3].startswith(f"Cookie: a={stand_in}; b=")


def test_what_is_no_secret_stays():
    lines = [
        "HTTP/1.1 200 OK",
        "Set-Cookie: id=abcdef; Path=/; HttpOnly",
        "Etag: abcdef",
        "X-Request-Id: abcdef",
    ]
    redacted = redact(lines)
    assert redacted[0].startswith("Set-Cookie: id=")
    assert redacted[0].endswith("; Path=/; HttpOnly")
    assert "abcdef" not in redacted[0]
    assert redacted[1:] == lines[2:]


def test_rules_add_fields_and_patterns():
    redacted = redact(
        ["GET / HTTP/1.1", "X-Customer: 12345", "X-Y: card 4111-1111"],
        "header:x-customer",
        r"re:card ([\d-]+)",
    )
    assert "12345" not in redacted[0]
    assert redacted[1].startswith("X-Y: card ")
    assert "4111" not in redacted[1]


def test_a_value_on_several_lines_goes_too():
    redaction = HeadRedaction(Pseudonyms(KEY), Rules())
    raw = b"GET / HTTP/1.1\r\nAuthorization: Bearer secret1\r\n secret2\r\nHost: a\r\n\r\n"
    redacted = redaction.redact_head(read_request_head(raw))
    assert redacted is not None
    assert b"secret" not in redacted
    assert read_request_head(redacted).headers[1] == ("Host", "a")


def test_trailers_are_redacted_as_fields():
    redaction = HeadRedaction(Pseudonyms(KEY), Rules())
    redacted = redaction.redact_trailers(b"X-Api-Key: secret\r\nX-Sum: 7\r\n\r\n")
    assert redacted is not None
    assert redacted.endswith(b"\r\nX-Sum: 7\r\n\r\n")
    assert b"secret" not in redacted


@pytest.mark.parametrize(
    "rule", ["", "header:", "header:a b", "json:token", "re:", "re:(", "re:(?<=card=)1", "cookie:x"]
)
def test_a_rule_that_is_none_is_refused(rule):
    with pytest.raises(BadRules):
        Rules.parse([rule])


def test_the_option_says_the_same_on_both_sides():
    key, rules = parse_option(format_option(KEY, ["header:X-A", "json:$.a", "re:b+"]))
    assert (key, rules) == (KEY, Rules.parse(["header:X-A", "json:$.a", "re:b+"]))
    for text in ["", "[]", '{"key":"00","rules":[]}', '{"key":1,"rules":[]}']:
        with pytest.raises(BadRules):
            parse_option(text)
