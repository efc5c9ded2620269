"""The main table as Markdown."""

from collections.abc import Sequence

from distillkit.report.comparing import Difference
from distillkit.report.costs import costs_of
from distillkit.report.groups import Group
from distillkit.report.settings import ABSENT
from distillkit.report.studies import StudyPage
from distillkit.report.tables import Cell, Column, Row, Table
from distillkit.report.wording import (
    heading,
    interval,
    number,
    p_value,
    reach,
    signed,
    summary,
    warnings,
)

NOTE = (
    "Intervals are 95 %: of a value Student's t over seeds (Wilson's or the evaluation's own for a "
    "single run), of a difference (Δ) a bootstrap over the same examples for both, seeds held "
    "fixed. p is two-sided, Student's t over that bootstrap's spread or, for right and wrong "
    "answers of two single runs, McNemar's exact test, Holm-corrected over the rows."
)


def markdown(
    table: Table,
    groups: Sequence[Group],
    *,
    studies: Sequence[StudyPage] = (),
    title: str,
    split: str,
) -> str:
    """Title, studies, summary, warnings, the main table and how to read it."""
    parts = [f"# {_safe(title)}\n", *(line for study in studies for line in _study(study))]
    return "\n".join([*parts, *(_runs(table, groups, split) if groups else ())])


def _runs(table: Table, groups: Sequence[Group], split: str) -> list[str]:
    columns = [table.columns[at] for at in table.leading]
    rows = [
        ["", "run", *map(heading, columns), "p (Holm)"],
        ["---", "---", *["---:"] * len(columns), "---:"],
    ]
    rows += [["", row.name, *_cells(row, table)] for row in table.references]
    for block in table.blocks:
        baseline = " (baseline)" if block.baseline else ""
        rows.append(
            [block.group.key, f"**{_safe(block.row.name)}**{baseline}", *_cells(block.row, table)]
        )
        rows += [
            ["", f"seed {single.seed}: {_safe(single.name)}", *_cells(single, table)]
            for single in block.singles
        ]
    return [
        f"{_safe(summary(groups, split))}\n",
        *(f"> **Warning.** {_safe(text)}\n" for text in warnings(groups)),
        *_lines(rows),
        "",
        NOTE,
        "",
        *_costs(groups),
    ]


def _study(study: StudyPage) -> list[str]:
    """Its sentences and tables; pictures have their numbers there."""
    lines = [f"## {_safe(study.title)}\n", *(f"{_safe(said)}\n" for said in study.said)]
    for table in study.tables:
        head, *rows = [list(map(_safe, row)) for row in (table.columns, *table.rows)]
        lines += [f"### {_safe(table.title)}\n", *_lines([head, ["---"] * len(head), *rows]), ""]
        lines += [f"{table.left:,} rows more.\n"] if table.left else []
    return lines


def _lines(rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in rows]


def _costs(groups: Sequence[Group]) -> list[str]:
    """A second table; nothing where no run tells what it took."""
    found = costs_of(groups)
    rows = [["", *found.columns], ["---", *["---:"] * len(found.columns)]]
    rows += [[key, *texts] for key, texts in found.rows.items()]
    return [*_lines(rows), "", found.note, ""] if found.rows else []


def _cells(row: Row[Cell], table: Table) -> list[str]:
    texts = [_cell(row.cells[at], table.columns[at]) for at in table.leading]
    return [*texts, p_value(row.cells[0].p_holm) if row.cells else ABSENT]


def _cell(cell: Cell, column: Column) -> str:
    if cell.value is None:
        return ABSENT
    ends = interval(cell.value, column)
    text = number(cell.value.value, column) + (f" ({ends})" if ends else "")
    if isinstance(cell.difference, Difference):
        change = signed(cell.difference.value, column)
        ends = reach(cell.difference, column)
        return f"{text}<br>Δ {change}" + (f" ({ends})" if ends else "")
    return f"{text}<br>Δ {cell.difference}" if cell.difference else text


def _safe(text: str) -> str:
    """Text that neither ends a cell nor starts a tag, a link or an emphasis."""
    for sign in "\\|<>[]*_`":
        text = text.replace(sign, f"\\{sign}")
    return text.replace("\n", " ")
