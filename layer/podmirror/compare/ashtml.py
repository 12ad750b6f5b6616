"""A comparison as one page of HTML that needs nothing else: no script, no font, no picture from anywhere. No I/O."""

from collections.abc import Callable, Iterator
from html import escape

from podmirror.compare import words
from podmirror.compare.cost import per_million_packets
from podmirror.compare.figures import PHASES, Comparison, Mode, Run
from podmirror.compare.pagestyle import STYLE
from podmirror.compare.plots import Bar, BarRow, bars, distribution, whisker_of
from podmirror.compare.rows import Section, median_of
from podmirror.compare.sections import sections
from podmirror.compare.spread import Figure, Unknown, spread
from podmirror.compare.verdict import summary, verdict


def to_html(comparison: Comparison) -> str:
    """Give the page."""
    title = f"Ephemeral container against Job: {comparison.target}"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(_body(comparison, title))
        + "\n</main>\n</body>\n</html>\n"
    )


def _body(comparison: Comparison, title: str) -> Iterator[str]:
    yield f"<h1>{escape(title)}</h1>"
    yield f'<p class="summary">{escape(summary(comparison))}.</p>'
    for note in comparison.notes:
        yield f'<p class="note">{escape(note)}</p>'
    yield f'<p class="verdict">{escape(" ".join(verdict(comparison)))}</p>'
    if any(column.runs for column in comparison.columns):
        yield from _plots(comparison)
    for section in sections(comparison):
        yield _table(section, [column.mode for column in comparison.columns])


def _plots(comparison: Comparison) -> Iterator[str]:
    names = [(number, column.mode.value) for number, column in enumerate(comparison.columns) if column.runs]
    legend = "".join(f'<li class="key{number}">{escape(name)}</li>' for number, name in names)
    yield f'<ul class="legend">{legend}</ul>\n<div class="plots">'
    yield _figure("Start, phase by phase", _phases(comparison))
    latencies = [
        (number, [each for run in column.runs for each in run.fidelity.latencies])
        for number, column in enumerate(comparison.columns)
    ]
    to = next((run.fidelity.latency_to for column in comparison.columns for run in column.runs), "")
    drawn = distribution("Latency", "the table under Fidelity has the figures", latencies)
    yield _figure(f"Latency: from a connection's first packet to {to}", drawn)
    yield "<div>"
    yield _figure(
        "CPU for a million packets",
        _measured(comparison, lambda run: per_million_packets(run.cost), words.seconds),
    )
    yield _figure(
        "Memory of the agent's own", _measured(comparison, lambda run: run.cost.memory_anonymous, words.size)
    )
    yield "</div></div>"


def _figure(caption: str, drawing: str) -> str:
    return f"<figure><figcaption>{escape(caption)}</figcaption>{drawing or '<p>Not measured.</p>'}</figure>"


def _phases(comparison: Comparison) -> str:
    """Draw each phase from where the one before ended."""
    reached = dict.fromkeys(range(len(comparison.columns)), 0.0)
    rows = []
    for name in PHASES:
        drawn = []
        for number, column in enumerate(comparison.columns):
            found = spread(run.phases[name] for run in column.runs if name in run.phases)
            if isinstance(found, Unknown):
                continue
            begin, reached[number] = reached[number], reached[number] + found.median
            drawn.append(Bar(number, begin, reached[number], words.seconds(found.median)))
        if drawn:
            rows.append(BarRow(name, tuple(drawn)))
    return bars(
        "Start", "medians, each phase from the end of the one before; the table has the figures", rows
    )


def _measured(comparison: Comparison, get: Callable[[Run], Figure], unit: words.Unit) -> str:
    rows = []
    for number, column in enumerate(comparison.columns):
        found = median_of(column, get)
        if not isinstance(found, Unknown):
            bar = Bar(number, 0, found.median, unit(found.median), whisker_of(found))
            rows.append(BarRow(column.mode.short, (bar,)))
    return (
        bars("Cost", "medians, with the least and the most; the table under Cost has the figures", rows)
        if rows
        else ""
    )


def _table(section: Section, modes: list[Mode]) -> str:
    """Make a table, with roles of its own: a narrow screen shows it as a list, and must not lose them."""
    name = section.title.lower().replace(" ", "-")
    head = "".join(f'<th role="columnheader" scope="col">{escape(mode.value)}</th>' for mode in modes)
    body = "".join(
        f'<tr role="row"><th role="rowheader" scope="row">{escape(row.name)}</th>'
        + "".join(
            f'<td role="cell"{_mark(cell)}><span class="of" aria-hidden="true">{escape(mode.short)}</span>'
            f"<span>{escape(cell)}</span></td>"
            for mode, cell in zip(modes, row.cells, strict=True)
        )
        + "</tr>"
        for row in section.rows
    )
    return (
        f'<section aria-labelledby="{name}"><h2 id="{name}">{escape(section.title)}</h2><p>{escape(section.note)}</p>'
        f'<table role="table" aria-labelledby="{name}"><thead role="rowgroup"><tr role="row">'
        f'<td role="cell"></td>{head}</tr></thead><tbody role="rowgroup">{body}</tbody></table></section>'
    )


def _mark(cell: str) -> str:
    return ' class="unknown"' if cell.startswith("unknown") or cell in ("refused", "failed") else ""
