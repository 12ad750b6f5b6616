"""Which exchanges a selection admits."""

import pytest

from podmirror_http.heads import read_request_head, read_response_head
from podmirror_http.selection import BadSelection, Selection, format_option, parse_option


def request(line="GET / HTTP/1.1", *fields):
    return read_request_head("\r\n".join([line, "Host: shop", *fields, "", ""]).encode())


def selection(*, methods=(), paths=(), fields=(), statuses=()):
    return Selection.parse(
        methods=list(methods), paths=list(paths), fields=list(fields), statuses=list(statuses)
    )


def test_nothing_named_admits_everything():
    assert selection().admits_request(request())
    assert selection().admits_response(read_response_head(b"HTTP/1.1 500 x\r\n\r\n"))


@pytest.mark.parametrize(
    ("pattern", "target", "admitted"),
    [
        ("/api", "/api", True),
        ("/api", "/api?x=/other", True),
        ("/api", "/api/orders", True),
        ("/api", "/apix", False),
        ("/api/", "/api/orders", True),
        ("/", "/anything", True),
        ("/api/*", "/api/a/b", True),
        ("/api/*", "/api", False),
        ("*.png", "/img/a.png?v=2", True),
        ("/v?/x", "/v2/x", True),
        ("/api", "http://shop/api/x", True),
        ("/", "http://shop", True),
        ("/a.b", "/axb", False),
    ],
)
def test_paths(pattern, target, admitted):
    assert selection(paths=[pattern]).admits_request(request(f"GET {target} HTTP/1.1")) is admitted


def test_methods_in_any_case():
    assert selection(methods=["post", "get"]).admits_request(request())
    assert not selection(methods=["post"]).admits_request(request())


@pytest.mark.parametrize(
    ("fields", "admitted"),
    [
        (["x-user"], True),
        (["X-USER:anna"], True),
        (["x-user: an*"], True),
        (["x-user:berta"], False),
        (["x-user", "x-none"], False),
        (["x-user:b*", "x-user:an*"], False),
    ],
)
def test_all_fields_must_fit(fields, admitted):
    assert selection(fields=fields).admits_request(request("GET / HTTP/1.1", "X-User: anna")) is admitted


@pytest.mark.parametrize(
    ("statuses", "admitted"), [(["404"], True), (["4xx"], True), (["5XX", "400-404"], True), (["5xx"], False)]
)
def test_statuses(statuses, admitted):
    chosen = selection(statuses=statuses)
    assert chosen.waits_for_response
    assert chosen.admits_response(read_response_head(b"HTTP/1.1 404 Not Found\r\n\r\n")) is admitted


@pytest.mark.parametrize(
    "wrong",
    [
        {"methods": ["GE T"]},
        {"paths": [""]},
        {"fields": [":x"]},
        {"statuses": ["6xx"]},
        {"statuses": ["300-200"]},
        {"statuses": ["ok"]},
    ],
)
def test_what_is_no_selection_is_refused(wrong):
    with pytest.raises(BadSelection):
        selection(**wrong)


def test_the_option_says_the_same_on_both_sides():
    given = {"methods": ["GET"], "paths": ["/a*"], "fields": ["X-A:b"], "statuses": ["5xx"]}
    assert parse_option(format_option(**given)) == Selection.parse(**given)
    assert parse_option("{}") == Selection()
    for text in ["", "[]", '{"method":["GET"]}', '{"methods":"GET"}', '{"methods":[1]}']:
        with pytest.raises(BadSelection):
            parse_option(text)
