"""A dry run as people read it."""

from rich.table import Column, Table

from distillkit.core.terminal import of_numbers, tight_table
from distillkit.preflight.phases import DryRun
from distillkit.preflight.sizes import size


def dry_run_table(found: DryRun, *, title: str) -> Table:
    """A line for each part: of which side it is, and in which phase it is there."""
    heads = ("student", "teacher", *(phase.replace(" ", "\n") for phase in found.phases))
    table = tight_table(title, Column(no_wrap=True), *of_numbers(*heads))
    for row in found.rows:
        cells = [row.student, row.teacher, *map(row.bytes_in, found.phases)]
        table.add_row(row.name, *map(_cell, cells))
    table.add_section()
    table.add_row("together", "", "", *(_cell(found.total(phase)) for phase in found.phases))
    return table


def _cell(count: int) -> str:
    return size(count) if count else ""
