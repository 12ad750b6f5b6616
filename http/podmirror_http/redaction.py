"""Replacing secrets in heads by stand-ins of the same length, so that every length and offset stays true.

Redacted by default are the values of fields that carry credentials, a token behind the word Bearer wherever it stands (RFC
6750), and a query's access_token and its like. The scheme of Authorization, the names of cookies and the attributes of
Set-Cookie stay. Rules add fields, JSON paths in bodies, and regular expressions for both. Those are the user's and run beside
the target, so RE2 matches them: in Python's own engine one such as `(a+)+b` would hold up the whole agent.

A head is read twice, once by httptools and once here, where each field's bytes stand. Where the two do not agree the head is
not redacted but refused, and must be left out.
"""

import json
import re
from dataclasses import dataclass

from podmirror_http.echoes import Echoes
from podmirror_http.events import Fields, RequestHead, ResponseHead
from podmirror_http.jsonpath import Path, parse_path
from podmirror_http.pseudonyms import KEY_BYTES, Pattern, Pseudonyms, Redacted

SECRET_FIELDS = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "cookie",
        "cookie2",
        "set-cookie",
        "set-cookie2",
        "authentication-info",
        "proxy-authentication-info",
        "x-amzn-oidc-data",
        "x-auth",
        "x-forwarded-access-token",
        "x-forwarded-client-cert",
        "x-goog-iap-jwt-assertion",
        "x-ms-token-aad-access-token",
    }
)
"""Whose values are redacted whatever the rules."""

_SECRET_FIELD = re.compile(
    r"(?:.*[-_])?(?:api|access|auth|session|security|csrf|xsrf|private|vault|id|user|refresh|job|deploy)[-_]?(?:key|token)"
    r"|(?:.*[-_])?(?:secret|password|passwd|token|apikey|jwt)(?:[-_](?:key|access|id|assertion))?"
    r"|(?:.*[-_])?(?:subscription|functions)[-_]key"
)
"""The like of X-Api-Key, X-Auth-Token, X-Amz-Security-Token, X-Vault-Token, Ocp-Apim-Subscription-Key."""

BEARER = re.compile(rb"(?i)bearer(?:[ \t]+|%20|\+)([A-Za-z0-9._~+/%|-]+=*)")
"""RFC 6750, 2.1; in a URL, the space may be encoded. Laravel's tokens have a bar in them."""

_PARAMETER = (
    rb"(?:access_token|refresh_token|id_token|token|api[-_]?key|client_secret|password|sig|signature)"
)
QUERY_SECRET = re.compile(rb"(?i)[?&;#]" + _PARAMETER + rb"=([^&;#\s\"'<>]+)")
"""RFC 6750, 2.3, and what others made of it; in the request's own line, Referer, Location, Link."""

FORM_SECRET = re.compile(rb"(?i)(?:\A|&)" + _PARAMETER + rb"=([^&\r\n]+)")
"""RFC 6750, 2.2."""

_USER_INFORMATION = re.compile(rb"://[^/?#@\s\"'<>:]*:([^/?#@\s\"'<>]+)@")
"""A password in a URL (RFC 3986, 3.2.1)."""

_SUBPROTOCOL = re.compile(rb"(?i)bearer(?:\.authorization\.k8s\.io\.|[ \t]*,[ \t]*)([^\s,]+)")
"""The token of a WebSocket that is opened by a browser, which can set no other field; the first is the API server's way."""

_AUTHORIZATION = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]|\r?\n[ \t])+")
"""The scheme of credentials (RFC 9110, 11.4)."""

_AUTHORIZATION_PARAMETER = re.compile(rb"(?i)(?:\A|[\s,;])" + _PARAMETER + rb"[ \t]*=[ \t]*\"?([^\s,;\"]+)")
"""Of schemes that put the token into one."""

_FIELD = re.compile(rb"([^:\r\n]+):([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)\r?\n")
"""A field with the lines that continue it (RFC 9112, 5.2)."""

_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class BadRules(ValueError):
    """Rules that cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is redacted besides the usual."""

    fields: frozenset[str] = frozenset()
    """In small letters."""
    paths: tuple[Path, ...] = ()
    patterns: tuple[Pattern, ...] = ()
    """Whose groups are replaced, or all that they match if they have none."""

    @classmethod
    def parse(cls, texts: list[str]) -> "Rules":
        """Read rules of the forms `header:NAME`, `json:$.path` and `re:PATTERN`.

        Raises:
            BadRules: One of them is none.
        """
        fields: set[str] = set()
        paths: list[Path] = []
        patterns: list[Pattern] = []
        for text in texts:
            kind, _, rest = text.partition(":")
            try:
                if kind == "header" and _FIELD_NAME.fullmatch(rest):
                    fields.add(rest.lower())
                elif kind == "json":
                    paths.append(parse_path(rest))
                elif kind == "re" and rest:
                    patterns.append(_compiled(rest))
                else:
                    raise BadRules(f"the rule {text!r} is none of header:NAME, json:$.path and re:PATTERN")
            except BadRules:
                raise
            except ValueError as error:
                raise BadRules(str(error)) from None
        return cls(frozenset(fields), tuple(paths), tuple(patterns))


def _compiled(pattern: str) -> Pattern:
    import re2  # 1.5 MB that only such a rule needs

    options = re2.Options()
    options.log_errors = False
    # Of bytes: what is not UTF-8 would match nothing, not even `[^&]`, and a secret would be replaced up to there only.
    options.encoding = re2.Options.Encoding.LATIN1
    try:
        compiled: Pattern = re2.compile(pattern.encode(), options)
    except re2.error as error:
        why = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else error
        raise BadRules(
            f"the pattern {pattern!r} cannot be read: {why}; patterns are RE2's, "
            "which has no look-around and no back-references"
        ) from None
    return compiled


def parse_option(text: str) -> tuple[bytes, Rules]:
    """Read the session option `redact`: JSON with the key, in hexadecimal, and the list of rules.

    Raises:
        BadRules: It is none.
    """
    try:
        given = json.loads(text)
        key, rules = bytes.fromhex(given["key"]), given["rules"]
    except (ValueError, TypeError, KeyError):
        raise BadRules("the option redact is no JSON object with key and rules") from None
    if (
        len(key) != KEY_BYTES
        or not isinstance(rules, list)
        or not all(isinstance(each, str) for each in rules)
    ):
        raise BadRules(f"the option redact holds no key of {KEY_BYTES} bytes, or no list of rules")
    return key, Rules.parse(rules)


def format_option(key: bytes, rules: list[str]) -> str:
    """Give the option's text."""
    return json.dumps({"key": key.hex(), "rules": rules}, separators=(",", ":"))


class HeadRedaction:
    """Redacts heads and trailer sections."""

    def __init__(self, pseudonyms: Pseudonyms, rules: Rules, echoes: Echoes | None = None) -> None:
        """Begin, with the stand-ins that bodies get as well.

        Args:
            pseudonyms: The stand-ins.
            rules: What is redacted besides the usual.
            echoes: Told of what is replaced, which may be said again on the same connection.
        """
        self._pseudonyms = pseudonyms
        self._rules = rules
        self._echoes = echoes or Echoes()

    def redact_head(self, head: RequestHead | ResponseHead) -> bytes | None:
        """Give the head's bytes with stand-ins; None if it cannot be redacted safely."""
        line_end = head.raw.index(b"\n") + 1
        text = Redacted(head.raw, self._pseudonyms)
        if not self._redact_fields(text, line_end, head.headers):
            return None
        self._redact_anywhere(text)
        return bytes(text)

    def redact_extensions(self, line: bytes) -> bytes:
        """Give the line of a chunk with stand-ins in what follows the chunk's size."""
        size, separator, extensions = line.partition(b";")
        text = Redacted(separator + extensions, self._pseudonyms)
        self._redact_anywhere(text)
        return size + bytes(text)

    def redact_trailers(self, raw: bytes) -> bytes | None:
        """Give a trailer section's bytes with stand-ins; None if it cannot be redacted safely."""
        text = Redacted(raw, self._pseudonyms)
        if not self._redact_fields(text, 0, None):
            return None
        self._redact_anywhere(text)
        return bytes(text)

    def _redact_fields(self, text: Redacted, at: int, expected: Fields | None) -> bool:
        seen: list[tuple[str, int, int]] = []
        while (found := _FIELD.match(text.original, at)) is not None:
            seen.append((found[1].decode("latin-1"), *found.span(2)))
            at = found.end()
        if text.original[at:] not in (b"\r\n", b"\n"):
            return False
        if expected is not None and not _agree(text.original, seen, expected):
            return False
        for name, start, end in seen:
            self._redact_field(text, name.strip().lower(), *_trimmed(text.original, start, end))
        return True

    def _redact_field(self, text: Redacted, name: str, start: int, end: int) -> None:
        if name in ("cookie", "cookie2"):
            for pair in _split(text.original, start, end):
                self._hide(text, *_value_of(text.original, *pair))
        elif name in ("set-cookie", "set-cookie2"):
            self._hide(text, *_value_of(text.original, *_split(text.original, start, end)[0]))
        elif name == "authorization" or name.endswith("-authorization"):
            scheme = _AUTHORIZATION.match(text.original, start, end)
            self._hide(text, scheme.end() if scheme else start, end)
            for found in _AUTHORIZATION_PARAMETER.finditer(text.original, start, end):
                self._echoes.add(found[1])
        elif name == "sec-websocket-protocol":
            for found in _SUBPROTOCOL.finditer(text.original, start, end):
                self._hide(text, *found.span(1))
        elif is_secret_field(name, self._rules):
            self._hide(text, start, end)

    def _hide(self, text: Redacted, start: int, end: int) -> None:
        value = text.original[start:end]
        bearer = BEARER.fullmatch(value)
        self._echoes.add(bearer[1] if bearer else value)
        text.replace(start, end)

    def _redact_anywhere(self, text: Redacted) -> None:
        for pattern in (QUERY_SECRET, _USER_INFORMATION):
            for found in pattern.finditer(text.original):
                self._hide(text, *found.span(1))
        text.replace_matches(BEARER)
        for place in self._echoes.find(text.original):
            text.replace(*place)
        for rule in self._rules.patterns:
            text.replace_matches(rule)


def is_secret_field(name: str, rules: Rules) -> bool:
    """Whether the value of a field of that name is redacted."""
    name = name.lower()
    return name in SECRET_FIELDS or name in rules.fields or _SECRET_FIELD.fullmatch(name) is not None


def _agree(original: bytes, seen: list[tuple[str, int, int]], expected: Fields) -> bool:
    if len(seen) != len(expected):
        return False
    for (name, start, end), (other_name, other_value) in zip(seen, expected, strict=True):
        value = b"".join(original[start:end].split()).decode("latin-1")
        if name != other_name or value != "".join(other_value.split()):
            return False
    return True


def _trimmed(data: bytes, start: int, end: int) -> tuple[int, int]:
    while start < end and data[start] in b" \t\r\n":
        start += 1
    while start < end and data[end - 1] in b" \t\r\n":
        end -= 1
    return start, end


def _split(data: bytes, start: int, end: int) -> list[tuple[int, int]]:
    """Give where the parts between semicolons stand."""
    parts: list[tuple[int, int]] = []
    while True:
        found = data.find(b";", start, end)
        if found < 0:
            return [*parts, _trimmed(data, start, end)]
        parts.append(_trimmed(data, start, found))
        start = found + 1


def _value_of(data: bytes, start: int, end: int) -> tuple[int, int]:
    """Give where the value of a `name=value` stands; all of it if it has no name."""
    found = data.find(b"=", start, end)
    return (start if found < 0 else found + 1), end
