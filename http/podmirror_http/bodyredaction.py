"""Replacing secrets in bodies as they pass, or leaving out what cannot be redacted safely.

Theory of operation. A token behind Bearer, and what was secret in a head of the same connection, is looked for in the stream:
what may be the beginning of one is held until its end is there. Rules of the user's (JSON paths, regular expressions) may match
at any length, so that with them a body is held whole, up to `MAX_BODY_BYTES`, and so is a form's, whose values have names.
Content in a coding, bodies that are longer than that, and what is JSON by its name but cannot be read as such are left out.

Where bytes are missing, the word Bearer may be missing, too: what may be the rest of a token behind them is left out, and what
may be the beginning of a secret in front of them.
"""

import re

from podmirror_http.echoes import Echoes
from podmirror_http.events import Fields
from podmirror_http.heads import values_of
from podmirror_http.jsonpath import BYTE_ORDER_MARK, NotJson, find_places
from podmirror_http.pseudonyms import Pseudonyms, Redacted
from podmirror_http.redaction import BEARER, FORM_SECRET, Rules

MAX_BODY_BYTES = 1 << 20
"""Held for the user's rules, and of forms."""

MAX_TOKEN_BYTES = 16 * 1024
"""A token that is longer is left out; most servers refuse heads of half that."""

_TOKEN = rb"[A-Za-z0-9._~+/%=|-]"
_UNFINISHED = re.compile(
    rb"(?i)(?:b|be|bea|bear|beare|bearer(?:[ \t]*|%|%2|(?:[ \t]+|%20|\+)" + _TOKEN + rb"*))\Z"
)
"""At the end of what came so far: the beginning of a match of `BEARER`, or one that may go on."""

_RUN = re.compile(rb"[ \t]*" + _TOKEN + rb"*")
_AFTER_GAP = re.compile(rb"(" + _TOKEN + rb"*)[ \t]*(" + _TOKEN + rb"*)")
"""What may be the rest of Bearer, or of a token, and what follows it."""

_BEARER = b"bearer"

_STRUCTURED = re.compile(r"(?i).*json|text/event-stream|multipart/")
"""Types in which JSON may stand."""

_BEGINS_JSON = re.compile(rb"(?:" + BYTE_ORDER_MARK + rb")?\s*[{[]")

Passed = list[bytes | int]
"""Content that may go on, and numbers of bytes that are left out, in order."""


class BodyRedaction:
    """The content of one body."""

    def __init__(
        self, pseudonyms: Pseudonyms, rules: Rules, headers: Fields, echoes: Echoes | None = None
    ) -> None:
        """Begin a message with these fields.

        Args:
            pseudonyms: The stand-ins.
            rules: What is redacted besides the usual.
            headers: The fields.
            echoes: Secrets that heads of the same connection held.
        """
        self._pseudonyms = pseudonyms
        self._echoes = echoes or Echoes()
        self._rules = rules
        self._type = next((value for name, value in headers if name.lower() == "content-type"), "")
        self._held = bytearray()
        self._form = "application/x-www-form-urlencoded" in self._type.lower()
        self._whole = bool(rules.paths or rules.patterns) or self._form
        self._over = _is_coded(headers)
        """Whether all that comes is left out."""
        self._in_token = False
        """Whether a token that was too long goes on."""
        self._after_gap = False

    @property
    def held(self) -> int:
        """Bytes that are held."""
        return len(self._held)

    def receive_content(self, content: bytes) -> Passed:
        """Take the next bytes, and give those that are decided."""
        if self._over:
            return [len(content)]
        self._held += content
        if self._whole:
            return self.give_up() if len(self._held) > MAX_BODY_BYTES else []
        return self._stream(ended=False)

    def receive_missing(self) -> Passed:
        """Take that the bytes which come next are missing; give all that was held."""
        if self._over or self._whole:
            return self.give_up()
        passed = self._stream(ended=True, cut=True)
        self._after_gap = True
        return passed

    def receive_end(self) -> Passed:
        """Take that the body is over; give all that was held."""
        if self._over or not self._held:
            return []
        return self._redact_whole() if self._whole else self._stream(ended=True)

    def give_up(self) -> Passed:
        """Leave out what is held and all that comes."""
        self._over = True
        return self._take_left(len(self._held))

    def _stream(self, *, ended: bool, cut: bool = False) -> Passed:
        passed = self._leave_out_run(ended=ended)
        if self._in_token or self._after_gap:
            return passed
        text = bytes(self._held)
        unfinished = None if ended else _UNFINISHED.search(text, max(0, len(text) - 2 * MAX_TOKEN_BYTES))
        decided = unfinished.start() if unfinished else len(text)
        if cut or not ended:
            decided = self._before_matches(text, min(decided, self._echoes.unfinished(text)))
        if decided:
            redacted = Redacted(text[:decided], self._pseudonyms)
            self._redact_usual(redacted)
            passed.append(bytes(redacted))
            del self._held[:decided]
        if len(self._held) > MAX_TOKEN_BYTES:
            self._in_token = True
            passed += self._take_left(len(self._held))
        return passed + self._take_left(len(self._held)) if cut else passed

    def _leave_out_run(self, *, ended: bool) -> Passed:
        """Leave out what may be the rest of a token."""
        if self._in_token:
            size = _end_of(_RUN, self._held)
            self._in_token = size == len(self._held) and not ended
            return self._take_left(size)
        if not self._after_gap:
            return []
        text = bytes(self._held)
        size, echoed = _end_of(_AFTER_GAP, self._held), self._echoes.rest(text)
        if (size == len(text) or echoed is None) and not ended:
            if len(text) <= MAX_TOKEN_BYTES:
                return []
            size, self._in_token = len(text), True
        else:
            size = max(_token_end_after_gap(text), len(text) if echoed is None else echoed)
        self._after_gap = False
        return self._take_left(size)

    def _redact_whole(self) -> Passed:
        text = bytes(self._held)
        redacted = Redacted(text, self._pseudonyms)
        if self._rules.paths and (_STRUCTURED.match(self._type) or _BEGINS_JSON.match(text)):
            try:
                places = find_places(text, list(self._rules.paths))
            except NotJson:
                return self.give_up()
            for place in places:
                redacted.replace(place.start, place.end, number=not place.is_string)
        if self._form:
            redacted.replace_matches(FORM_SECRET)
        self._redact_usual(redacted)
        for pattern in self._rules.patterns:
            redacted.replace_matches(pattern)
        self._held.clear()
        return [bytes(redacted)]

    def _before_matches(self, text: bytes, end: int) -> int:
        """Give the last place up to that end that cuts through nothing that is to be replaced."""
        if end == len(text):
            return end
        places = [*(found.span() for found in BEARER.finditer(text)), *self._echoes.find(text)]
        before = -1
        while end != before:
            before = end
            for start, place_end in places:
                if start < end < place_end:
                    end = start
        return end

    def _redact_usual(self, redacted: Redacted) -> None:
        redacted.replace_matches(BEARER)
        for place in self._echoes.find(redacted.original):
            redacted.replace(*place)

    def _take_left(self, size: int) -> Passed:
        del self._held[:size]
        return [size] if size else []


def _is_coded(headers: Fields) -> bool:
    """Whether the content cannot be read as it stands (RFC 9110, 8.4; RFC 9112, 6.1)."""
    codings = [each.lower() for each in values_of(headers, "content-encoding")]
    transfer = [each.lower() for each in values_of(headers, "transfer-encoding")]
    return any(each != "identity" for each in codings) or any(each != "chunked" for each in transfer)


def _end_of(pattern: re.Pattern[bytes], text: bytearray) -> int:
    found = pattern.match(text)
    return found.end() if found else 0


def _token_end_after_gap(text: bytes) -> int:
    """Give up to where a text whose beginning is missing may be a token; a whole word Bearer is left for what follows it."""
    found = _AFTER_GAP.match(text)
    assert found is not None, "it matches nothing, too"
    first = found[1].lower()
    if first.endswith(_BEARER):
        return found.end(1) - len(_BEARER)
    if not _BEARER.endswith(first):
        return found.end(1)
    return found.end(2) - (len(_BEARER) if found[2].lower().endswith(_BEARER) else 0)
