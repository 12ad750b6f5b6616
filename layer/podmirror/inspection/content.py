"""What a body holds: text in its charset, or bytes."""

import codecs
from dataclasses import dataclass
from email.message import Message as MediaType

from podmirror.inspection.codings import CodingUnknown, decoded, split_codings
from podmirror.inspection.exchange import Message

UNPACKED_BYTES = 4 << 20
"""Of a body that is unpacked, at most: enough for what anybody reads, and no room for a bomb."""

_TEXTUAL = (
    "application/graphql",
    "application/javascript",
    "application/json",
    "application/ld+json",
    "application/x-javascript",
    "application/x-ndjson",
    "application/x-www-form-urlencoded",
    "application/xml",
    "application/yaml",
)
_TEXTUAL_SUFFIXES = ("+json", "+xml", "+yaml")
_BINARY = ("audio/", "font/", "image/", "video/")


@dataclass(frozen=True, slots=True)
class Content:
    """A body as far as it was kept, without its content-coding."""

    media_type: str
    """As `application/json`; empty if the message does not say."""
    data: bytes
    text: str | None
    """None if it is no text."""
    truncated: bool
    """Whether there was more."""
    trouble: str = ""
    """Why a content-coding is still on it; empty if none is."""

    @property
    def is_json(self) -> bool:
        """Whether it claims to be JSON."""
        return self.media_type.endswith(("/json", "+json"))


def content_of(message: Message, limit: int = UNPACKED_BYTES) -> Content:
    """Undo a body's coding and decode it by its type and charset, up to so many bytes."""
    media_type, charset = _media_type(message.header("content-type"))
    body = bytes(message.body.kept)
    trouble = ""
    data = body
    codings = split_codings(message.header("content-encoding"))
    if body and codings:
        try:
            data = decoded(body, codings, limit + 1)
        except CodingUnknown as unknown:
            trouble = str(unknown)
    truncated = message.body.truncated or len(data) > limit
    data = data[:limit]
    text = None if trouble else _text(data, media_type, charset, truncated=truncated)
    return Content(media_type, data, text, truncated, trouble)


def _media_type(header: str) -> tuple[str, str]:
    if not header:
        return "", ""
    parsed = MediaType()
    parsed["content-type"] = header
    media_type = header.partition(";")[0].strip().lower()
    return media_type, parsed.get_content_charset("") or ""


def _text(data: bytes, media_type: str, charset: str, *, truncated: bool) -> str | None:
    if media_type.startswith(_BINARY) and media_type != "image/svg+xml":
        return None
    claims = (
        media_type.startswith("text/") or media_type in _TEXTUAL or media_type.endswith(_TEXTUAL_SUFFIXES)
    )
    if charset and _is_charset(charset):
        return data.decode(charset, "replace")
    # The end of what was kept may stand inside a character.
    text = _utf8(data, final=not truncated)
    if text is not None:
        return text if claims or _reads_as_text(text) else None
    return data.decode("latin-1" if not truncated else "utf-8", "replace") if claims else None


def _utf8(data: bytes, *, final: bool) -> str | None:
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(data, final)
    except UnicodeDecodeError:
        return None


def _is_charset(name: str) -> bool:
    try:
        return codecs.lookup(name)._is_text_encoding  # noqa: SLF001  # what bytes.decode asks, too
    except (LookupError, ValueError):
        return False


def _reads_as_text(text: str) -> bool:
    return all(character.isprintable() or character in "\t\r\n" for character in text)
