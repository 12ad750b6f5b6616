"""Label and field selectors: `app=web,tier in (a, b),!canary` and `metadata.name=x,status.phase!=Running`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from podmirror_sandbox.cluster.apierrors import ApiError
from podmirror_sandbox.cluster.objects import Object, labels_of

Predicate = Callable[[Object], bool]

_SET_TERM = re.compile(r"^(?P<key>[^\s!=,()]+)\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)$")
_EQUAL_TERM = re.compile(r"^(?P<key>[^\s!=,()]+)\s*(?P<operator>==|=|!=)\s*(?P<value>[^\s!=,()]*)$")
_EXISTS_TERM = re.compile(r"^(?P<no>!?)\s*(?P<key>[^\s!=,()]+)$")


def parse_label_selector(text: str) -> Predicate:
    """What `labelSelector=` asks for, as a predicate on objects.

    Raises:
        ApiError: 400 when it cannot be read.
    """
    tests = [_parse_label_term(term) for term in _split_terms(text)]
    return lambda item: all(test(labels_of(item)) for test in tests)


def parse_field_selector(text: str) -> Predicate:
    """What `fieldSelector=` asks for: any dotted path of the object, compared as text.

    Raises:
        ApiError: 400 when it cannot be read.
    """
    terms: list[tuple[str, bool, str]] = []
    for term in _split_terms(text):
        match = _EQUAL_TERM.match(term)
        if match is None:
            raise ApiError.bad_request(f"invalid selector: '{text}'; can't understand '{term}'")
        terms.append((match["key"], match["operator"] != "!=", match["value"]))
    return lambda item: all((_field(item, path) == value) is equal for path, equal, value in terms)


def matches_selector(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether labels satisfy a `metav1.LabelSelector` object; an absent selector matches nothing."""
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(matches_expression(entry, labels) for entry in selector.get("matchExpressions") or [])


def matches_expression(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether labels satisfy one `matchExpressions` entry."""
    key, operator = expression["key"], expression["operator"]
    values = expression.get("values") or []
    if operator == "In":
        return labels.get(key) in values
    if operator == "NotIn":
        return labels.get(key) not in values
    if operator == "Exists":
        return key in labels
    return key not in labels


def _split_terms(text: str) -> list[str]:
    """Split at the commas outside of parentheses."""
    return [term.strip() for term in re.split(r",(?![^()]*\))", text) if term.strip()]


def _parse_label_term(term: str) -> Callable[[Mapping[str, str]], bool]:
    if match := _SET_TERM.match(term):
        key = match["key"]
        values = {value.strip() for value in match["values"].split(",")}
        if match["operator"] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if match := _EQUAL_TERM.match(term):
        key, value = match["key"], match["value"]
        if match["operator"] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if match := _EXISTS_TERM.match(term):
        key, wanted = match["key"], not match["no"]
        return lambda labels: (key in labels) is wanted
    raise ApiError.bad_request(f"unable to parse requirement: found '{term}'")


def _field(item: Object, path: str) -> str:
    value: Any = item
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return "" if value is None else str(value)
