"""Secrets in the places where clients and servers put them: no run of eight of their bytes goes on, however it is cut."""

import pytest

from tests.agent.screening import Passage, redact_option

SECRET = b"Tk9/aB+cD3|eF5-gH7_iJ8=="
ECHO = b'{"told": "%s"}'
OTHERS = b"; ".join(b"c%d=value-of-%08d" % (number, number) for number in range(150))
CHUNKED = b"Transfer-Encoding: chunked"


def request(*fields: bytes, line: bytes = b"GET /x HTTP/1.1", body: bytes = b"") -> tuple[int, bytes]:
    length = [b"Content-Length: %d" % len(body)] if body and CHUNKED not in fields else []
    return 0, b"\r\n".join([line, b"Host: h", *length, *fields, b"", b""]) + body


def response(body: bytes = b"", *fields: bytes) -> tuple[int, bytes]:
    return 1, b"\r\n".join([b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *fields, b"", b""]) + body


FORM = b"Content-Type: application/x-www-form-urlencoded; charset=utf-8"

PLACES = {
    "folded, and echoed": [request(b"Authorization: Bearer\r\n " + SECRET), response(ECHO % SECRET)],
    "a parameter of the credentials": [
        request(b'Authorization: Token token="' + SECRET + b'"'),
        response(ECHO % SECRET),
    ],
    "echoed by PHP": [
        request(b"Authorization: Bearer " + SECRET),
        response(ECHO % SECRET.replace(b"/", b"\\/")),
    ],
    "in Referer": [request(b"Referer: http://h/?a=1&access_token=" + SECRET)],
    "in a query, echoed": [request(line=b"GET /x?token=" + SECRET + b" HTTP/1.1"), response(ECHO % SECRET)],
    "in Location": [request(), response(b"", b"Location: /z#access_token=" + SECRET + b"&expires=1")],
    "a password in a URL": [
        request(line=b"GET http://joe:" + SECRET.replace(b"/", b"%2F") + b"@h/ HTTP/1.1")
    ],
    "a form's": [request(FORM, line=b"POST / HTTP/1.1", body=b"a=1&access_token=" + SECRET + b"&b=2")],
    "with many cookies": [
        request(b"Authorization: Bearer " + SECRET, b"Cookie: " + OTHERS),
        response(ECHO % SECRET),
    ],
    "a quoted cookie": [request(b'Cookie: a="' + SECRET + b'"'), response(ECHO % SECRET)],
    "behind a chunk's size": [
        request(CHUNKED, line=b"POST / HTTP/1.1", body=b'5;x="Bearer ' + SECRET + b'"\r\nhello\r\n0\r\n\r\n')
    ],
    "echoed behind a chunk's size": [
        request(
            b"X-Api-Key: " + SECRET,
            CHUNKED,
            line=b"POST / HTTP/1.1",
            body=b"5;x=" + SECRET + b"\r\nhello\r\n0\r\n\r\n",
        )
    ],
    "a WebSocket's subprotocol": [request(b"Sec-WebSocket-Protocol: bearer, " + SECRET)],
    "the API server's": [
        request(
            b"Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io."
            + SECRET
            + b", v5.channel.k8s.io"
        )
    ],
    "behind Bearer in a body": [request(line=b"POST / HTTP/1.1", body=b"x Bearer " + SECRET + b" y")],
    **{
        name: [request(name.encode() + b": " + SECRET)]
        for name in (
            "Ocp-Apim-Subscription-Key",
            "X-Functions-Key",
            "X-Authorization",
            "Cf-Access-Jwt-Assertion",
            "X-Amzn-Oidc-Data",
            "X-Auth",
        )
    },
}


@pytest.mark.parametrize("size", [1, 7, 4096])
@pytest.mark.parametrize("place", PLACES)
def test_it_does_not_go_on(place: str, size: int) -> None:
    passage = Passage(redact=redact_option())
    for side, data in PLACES[place]:
        passage.say(*((side, data[at : at + size]) for at in range(0, len(data), size)))
    passage.close()

    passage.check_offsets()
    for secret in (SECRET, SECRET.replace(b"/", b"%2F"), SECRET.replace(b"/", b"\\/")):
        for at in range(len(secret) - 8):
            assert secret[at : at + 8] not in passage.kept(0) + passage.kept(1)
    assert not passage.left(0)
    assert len(passage.whole()) == sum(side for side, _ in PLACES[place])


@pytest.mark.parametrize("missing", [1, 4])
def test_an_echo_with_a_gap_in_it_is_left_out(missing: int) -> None:
    side, answer = response(ECHO % SECRET)
    begin = answer.index(SECRET)
    for at in range(begin + 1, begin + len(SECRET) - missing):
        passage = Passage(redact=redact_option()).say(request(b"Authorization: Bearer " + SECRET))
        passage.say((side, answer[:at])).miss(side, missing).say((side, answer[at + missing :])).close()

        passage.check_offsets()
        assert not any(SECRET[n : n + 8] in passage.kept(1) for n in range(len(SECRET) - 8))
        assert passage.kept(1).endswith(b'"}')


def test_an_echo_that_breaks_off_is_left_out() -> None:
    side, answer = response(ECHO % SECRET)
    passage = Passage(redact=redact_option()).say(request(b"Authorization: Bearer " + SECRET))
    passage.say((side, answer[:-4])).end(1).close()

    assert SECRET[:8] not in passage.kept(1)
    assert passage.left(1) == len(SECRET) - 2


def test_what_a_connection_s_secrets_take_is_taken_from_the_budget() -> None:
    passage = Passage(redact=redact_option())
    passage.say(request(b"Cookie: a=1"), response(b"ok"))
    before = passage.budget.held
    passage.say(request(b"Cookie: " + OTHERS), response(b"ok"))

    assert passage.budget.held >= before + 150 * len("value-of-00000000")
    passage.close()
    assert passage.budget.held == 0
