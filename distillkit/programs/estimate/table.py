"""The table of ``distillkit estimate``."""

from collections.abc import Sequence

from rich.table import Column, Table

from distillkit.core.terminal import cell, of_numbers, tight_table
from distillkit.evaluation.tally import EstimateRow

COLUMNS = (
    "value",
    "bias",
    "±",
    "expected\ncosine",
    "one-draw\ncosine",
    "relative\nvariance",
    "outside\nteacher",
    "outside\nstudent",
)


def estimate_table(rows: Sequence[EstimateRow], *, title: str) -> Table:
    """One line for each estimator, in groups. A number that has no meaning is left blank."""
    table = tight_table(title, Column(no_wrap=True), *of_numbers(*COLUMNS))
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        last = following is None or following.estimator != row.estimator
        table.add_row(
            label(row),
            f"{row.value:.4f}",
            "" if row.estimator == "dense" else f"{row.bias:+.4f}",
            cell(row.bias_error, ".4f"),
            "" if row.estimator == "dense" else cell(row.expected_cosine, ".4f"),
            cell(row.draw_cosine, ".4f"),
            cell(row.variance, ".3g"),
            cell(row.outside_teacher, ".3%"),
            cell(row.outside_student, ".3%"),
            end_section=last,
        )
    return table


def label(row: EstimateRow) -> str:
    """An estimator with its size, as in ``teacher top 16`` or ``k3, 4 draws``."""
    if row.draws is not None:
        return f"{row.estimator}, {row.draws} draw{'s' if row.draws > 1 else ''}"
    return " ".join(row.estimator.split("_")[:2]) + (f" {row.k}" if row.k else "")
