"""Which exchanges are wanted: by method, path, fields of the request, and status of the response.

Every kind that is given must agree. Of methods, paths and statuses one must fit, of fields all.
"""

import fnmatch
import json
import re
from dataclasses import dataclass

from podmirror_http.events import RequestHead, ResponseHead

_STATUS = re.compile(r"([1-5])xx|([1-9][0-9]{2})(?:-([1-9][0-9]{2}))?", re.IGNORECASE)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_AUTHORITY = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")


class BadSelection(ValueError):
    """A selection that cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What is wanted; all of it, if nothing is named."""

    methods: frozenset[str] = frozenset()
    paths: tuple[re.Pattern[str], ...] = ()
    fields: tuple[tuple[str, re.Pattern[str] | None], ...] = ()
    """Names in small letters, with what a value must be."""
    statuses: tuple[range, ...] = ()

    @property
    def waits_for_response(self) -> bool:
        """Whether a request alone does not tell."""
        return bool(self.statuses)

    def admits_request(self, head: RequestHead) -> bool:
        """Whether the request is of the wanted ones."""
        if self.methods and head.method not in self.methods:
            return False
        if self.paths and not any(path.fullmatch(path_of(head.target)) for path in self.paths):
            return False
        return all(_has_field(head, name, value) for name, value in self.fields)

    def admits_response(self, head: ResponseHead) -> bool:
        """Whether the response is."""
        return not self.statuses or any(head.status in statuses for statuses in self.statuses)

    @classmethod
    def parse(
        cls, *, methods: list[str], paths: list[str], fields: list[str], statuses: list[str]
    ) -> "Selection":
        """Read what a user names.

        Args:
            methods: Names, in any case.
            paths: With `*` and `?` as in a shell, where `*` passes over slashes; one that has neither admits what is below it.
            fields: `NAME` or `NAME:VALUE`, the value with `*` and `?`.
            statuses: `404`, `5xx` or `200-299`.

        Raises:
            BadSelection: One of them is none.
        """
        for method in methods:
            if not _TOKEN.fullmatch(method):
                raise BadSelection(f"{method!r} is no method")
        return cls(
            frozenset(method.upper() for method in methods),
            tuple(map(_path, paths)),
            tuple(map(_field, fields)),
            tuple(map(_statuses, statuses)),
        )


def parse_option(text: str) -> Selection:
    """Read the session option `select`: JSON with lists of methods, paths, headers and statuses.

    Raises:
        BadSelection: It is none.
    """
    try:
        given = json.loads(text)
    except ValueError:
        given = None
    names = ("methods", "paths", "headers", "statuses")
    if not isinstance(given, dict) or not given.keys() <= set(names):
        raise BadSelection(f"the option select is no JSON object with {', '.join(names)}")
    lists = [given.get(name, []) for name in names]
    if not all(isinstance(each, list) and all(isinstance(text, str) for text in each) for each in lists):
        raise BadSelection("the option select holds something other than lists of texts")
    methods, paths, fields, statuses = lists
    return Selection.parse(methods=methods, paths=paths, fields=fields, statuses=statuses)


def format_option(*, methods: list[str], paths: list[str], fields: list[str], statuses: list[str]) -> str:
    """Give the option's text."""
    given = {"methods": methods, "paths": paths, "headers": fields, "statuses": statuses}
    return json.dumps({name: texts for name, texts in given.items() if texts}, separators=(",", ":"))


def path_of(target: str) -> str:
    """Give the path of a request's target, without its query; that of CONNECT and `*` is the target itself."""
    path = _AUTHORITY.sub("", target, count=1) if not target.startswith("/") else target
    path = re.split("[?#]", path, maxsplit=1)[0]
    return path or "/"


def _path(text: str) -> re.Pattern[str]:
    if not text:
        raise BadSelection("an empty path selects nothing")
    if re.search("[*?[]", text):
        return re.compile(fnmatch.translate(text))
    return re.compile(re.escape(text.rstrip("/")) + "(?:/.*)?" if text != "/" else "/.*", re.DOTALL)


def _field(text: str) -> tuple[str, re.Pattern[str] | None]:
    name, colon, value = text.partition(":")
    if not _TOKEN.fullmatch(name):
        raise BadSelection(f"{text!r} is not of the form NAME or NAME:VALUE")
    return name.lower(), re.compile(fnmatch.translate(value.strip())) if colon else None


def _statuses(text: str) -> range:
    found = _STATUS.fullmatch(text)
    if found is None:
        raise BadSelection(f"{text!r} is no status; say 404, 5xx or 200-299")
    if found[3] and int(found[3]) < int(found[2]):
        raise BadSelection(f"{text!r} names no status: its end is before its beginning")
    if found[1]:
        return range(int(found[1]) * 100, int(found[1]) * 100 + 100)
    return range(int(found[2]), int(found[3] or found[2]) + 1)


def _has_field(head: RequestHead, name: str, value: re.Pattern[str] | None) -> bool:
    return any(
        field.lower() == name and (value is None or value.fullmatch(text) is not None)
        for field, text in head.headers
    )
