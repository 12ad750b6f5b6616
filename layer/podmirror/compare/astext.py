"""A comparison for a terminal."""

import click

from podmirror.compare.figures import Comparison
from podmirror.compare.sections import sections
from podmirror.compare.verdict import summary, verdict
from podmirror.tables import print_table


def print_text(comparison: Comparison) -> None:
    """Print it."""
    click.echo(summary(comparison))
    for note in comparison.notes:
        click.echo(f"! {note}")
    for section in sections(comparison):
        click.echo(f"\n{section.title}: {section.note}")
        titles = ("", *(column.mode.value for column in comparison.columns))
        print_table(titles, [(row.name, *row.cells) for row in section.rows])
    click.echo("\n" + " ".join(verdict(comparison)))
