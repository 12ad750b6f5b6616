"""A comparison as Markdown, for an issue or a page of documentation. No I/O."""

from collections.abc import Iterator

from podmirror.compare.figures import Comparison
from podmirror.compare.sections import sections
from podmirror.compare.verdict import summary, verdict

_MARKUP = str.maketrans({**{each: f"\\{each}" for each in "\\`*_|[]#"}, "<": "&lt;", ">": "&gt;"})


def to_markdown(comparison: Comparison) -> str:
    """Give the page."""
    return "\n".join(_lines(comparison)) + "\n"


def _lines(comparison: Comparison) -> Iterator[str]:
    yield f"# Ephemeral container against Job: {_escaped(comparison.target)}"
    yield ""
    yield _escaped(summary(comparison)) + "."
    yield ""
    yield _escaped(" ".join(verdict(comparison)))
    for note in comparison.notes:
        yield f"\n> {_escaped(note)}"
    titles = [column.mode.value for column in comparison.columns]
    for section in sections(comparison):
        yield f"\n## {section.title}\n\n{_escaped(section.note)}\n"
        yield _row("", titles)
        yield _row("---", ["---"] * len(titles))
        for row in section.rows:
            yield _row(row.name, row.cells)


def _row(name: str, cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(_escaped(each) for each in (name, *cells))} |"


def _escaped(text: str) -> str:
    """Keep a server's words from being taken for markup."""
    return " ".join(text.translate(_MARKUP).split())
