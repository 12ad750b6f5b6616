"""Where in a JSON text the values of a path stand, with Python's own parser as the oracle."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podmirror_http.jsonpath import NotJson, find_places, parse_path

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-99, 99)
    | st.text(max_size=5)
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from("abc") | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=15,
)
STEPS = st.lists(
    st.sampled_from([".a", ".b", "[0]", "[1]", "[*]", ".*", "..a", "['c']"]), min_size=1, max_size=3
)


def named(value, steps):
    """Give the scalars under a path, the slow way."""
    if not steps:
        children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return [value] if children is None else [each for child in children for each in named(child, [])]
    step, rest = steps[0], steps[1:]
    children = (
        list(value.items())
        if isinstance(value, dict)
        else list(enumerate(value))
        if isinstance(value, list)
        else []
    )
    found = []
    for key, child in children:
        deep = step.startswith("..")
        wanted = {"..a": "a", ".a": "a", ".b": "b", "[0]": 0, "[1]": 1, "['c']": "c"}.get(step)
        if wanted is None or (key == wanted and type(key) is type(wanted)):
            found.append((child, rest))
        if deep:
            found.append((child, steps))
    merged = []
    for child, left in found:
        merged += named(child, left)
    return merged


@given(VALUES, STEPS, st.booleans())
def test_finds_what_a_parser_finds(value, steps, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        text.decode()
    except UnicodeDecodeError:
        return
    places = find_places(text, [parse_path("$" + "".join(steps))])
    read = [
        json.loads(
            b'"' + text[place.start : place.end] + b'"' if place.is_string else text[place.start : place.end]
        )
        for place in places
    ]
    expected = named(value, steps)
    assert sorted(map(repr, set(map(repr, read)))) == sorted(map(repr, set(map(repr, expected))))


@pytest.mark.parametrize(
    "text",
    [b'{"a": 1', b'{"a" 1}', b'["a",]', b'{"a": tru}', b"[" * 600 + b'"a"', b'\xff"a"', b'{"a":01}', b"a"],
)
def test_what_is_no_json_is_said_so(text):
    with pytest.raises(NotJson):
        find_places(text, [parse_path("$.a")])


def test_lines_of_json_are_read_one_by_one():
    assert len(find_places(b'{"a":1}\n{"a":2}\n', [parse_path("$.a")])) == 2


def test_a_name_in_another_spelling_is_found():
    assert len(find_places(rb'{"\u0061":1}', [parse_path("$.a")])) == 1


@pytest.mark.parametrize("text", ["a.b", "$", "$..", "$.a[", "$[x]", "$.a b"])
def test_a_path_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="JSON path"):
        parse_path(text)
