"""Text that came from the network, made fit for a terminal.

A terminal obeys control characters (ECMA-48, 5.4), and a reader believes what stands in order, which bidirectional controls
change (Unicode TR 9, 2). So everything that is not plainly printable is shown by its number.
"""


def escaped(text: str) -> str:
    """Give a text as one line."""
    return text if text.isprintable() else "".join(map(_shown, text))


def escaped_lines(text: str) -> str:
    """Give a text in its lines, its tabs kept."""
    return "\n".join(
        "\t".join(escaped(field) for field in line.split("\t"))
        for line in text.replace("\r\n", "\n").split("\n")
    )


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    number = ord(character)
    if number < 0x100:
        return _SHORT.get(character) or f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
