"""Bodies for a reader: text in lines, JSON indented, the rest as a short hexdump."""

import json

from podmirror.inspection.content import Content, content_of
from podmirror.inspection.escape import escaped, escaped_lines
from podmirror.inspection.exchange import Message
from podmirror.stats import amount

SHOWN_BYTES = 4096
"""Of each body: two screens of text."""

DUMPED_BYTES = 256
"""Of a body that is no text: sixteen lines tell what it is."""

_ROW_BYTES = 16


def body_lines(message: Message, limit: int = SHOWN_BYTES) -> list[str]:
    """Give a body as lines that are fit for a terminal, with what is missing of it said behind them."""
    if not message.body.size:
        return []
    content = content_of(message)
    if content.text is not None:
        text = _indented(content)
        lines = escaped_lines(text[:limit]).split("\n")
        shown_whole = len(text) <= limit
    else:
        lines = hexdump(content.data[:DUMPED_BYTES])
        shown_whole = len(content.data) <= DUMPED_BYTES
    if lines == [""]:
        lines = []
    return lines + _remarks(message, content, shown_whole=shown_whole)


def hexdump(data: bytes) -> list[str]:
    """Give bytes as lines of their offset, their values and what of them is ASCII."""
    lines = []
    for offset in range(0, len(data), _ROW_BYTES):
        row = data[offset : offset + _ROW_BYTES]
        characters = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        lines.append(f"{offset:08x}  {row.hex(' '):<{3 * _ROW_BYTES}} {characters}")
    return lines


def _indented(content: Content) -> str:
    assert content.text is not None, "only text is indented"
    if content.is_json and not content.truncated:
        try:
            return json.dumps(json.loads(content.text), indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            pass  # it only claims to be JSON
    return content.text


def _remarks(message: Message, content: Content, *, shown_whole: bool) -> list[str]:
    body = message.body
    remarks = []
    if content.trouble:
        remarks.append(content.trouble)
    if body.missing:
        remarks.append(f"{amount(body.missing)} of it were not seen")
    if body.left_out:
        remarks.append(f"{amount(body.left_out)} of it were left out by the agent")
    if (content.truncated or not shown_whole) and not (body.missing or body.left_out):
        remarks.append("cut here")
    return [f"[{escaped('; '.join(remarks))}; {amount(body.size)} in all]"] if remarks else []
