"""What ``distillkit study scaling`` prints, and a report repeats: a table and sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Column, Table

from distillkit.core.terminal import cell, of_numbers, tight_table

Row = Mapping[str, Any]

NAMES = {"accuracy": "error rate", "nll": "nll", "divergence": "KL(teacher || student)"}
"""What is held against size."""

RATES = (
    "Every cell is trained at one learning rate, the one that was typed or the default's, with a "
    "schedule over its own steps; a student's overrides may hold a rate of its own."
)
PUBLISHED = (
    "The published exponents are of pre-training from nothing, in parameters and in tokens "
    "(arXiv:2203.15556), and are not claimed for distillation: nearness to them proves nothing."
)


def table_of(fits: Sequence[Row], of: str) -> Table:
    """A row for each axis, method and form."""
    table = tight_table(
        f"Power laws of the {NAMES[of]}, 95 % intervals [published]",
        *(Column(head) for head in ("axis", "method", "form")),
        *of_numbers("exponent", "floor", "last cell\nforetold", "seen", "error", "in\nspreads"),
    )
    for row in fits:
        exponent = _interval(row, "exponent", ".2f")
        if row["exponent_published"] is not None:
            exponent += f" [{row['exponent_published']:.2f}]"
        table.add_row(
            row["axis"],
            row["method"],
            row["form"],
            exponent,
            _interval(row, "floor", ".3f") if row["form"] == "floor" else "",
            _interval(row, "foretold", ".3f"),
            cell(row["seen"], ".3f"),
            cell(row["error"], "+.3f"),
            cell(row["error_in_spreads"], "+.1f"),
        )
    return table


def sentences(fits: Sequence[Row], of: str) -> list[str]:
    """What was found, whether it was foretold, by what rule, and what is published."""
    said = [_found(row, NAMES[of]) for row in fits]
    told = [row for row in fits if row["inside"] is not None]
    if told:
        held = sum(row["inside"] for row in told)
        said.append(
            f"Of {len(told)} largest cells foretold from the smaller ones {held} lie inside of "
            "their 95 % prediction interval."
        )
    said.append(RATES)
    compared = [row for row in fits if row["exponent_published"] is not None]
    return said + ([_agreement(compared), PUBLISHED] if compared else [])


def _found(row: Row, name: str) -> str:
    law = "towards a floor" if row["form"] == "floor" else "without a floor"
    told = ""
    if row["foretold"] is not None:
        relative = row["error_relative"]
        share = "" if relative is None else f", {relative:+.0%}"
        told = (
            f"; the largest cell was foretold as {_interval(row, 'foretold', '.3f')} and is "
            f"{row['seen']:.3f} ({row['error']:+.3f}{share})"
        )
    bounded = "" if row["exponent_high"] is not None else ", which the data do not bound above"
    return (
        f"{row['method']}, {row['axis']}: {name} {law} with exponent "
        f"{_interval(row, 'exponent', '.2f')}{bounded}{told}."
    )


def _agreement(rows: Sequence[Row]) -> str:
    inside = [row for row in rows if _holds(row, row["exponent_published"])]
    named = ", ".join(f"{row['method']} in {row['axis']}" for row in inside) or "none"
    return (
        f"Of {len(rows)} exponents with a floor the interval holds the published one for: {named}."
    )


def _holds(row: Row, value: float) -> bool:
    low, high = row["exponent_low"], row["exponent_high"]
    return (low is None or low <= value) and (high is None or value <= high)


def _interval(row: Row, name: str, form: str) -> str:
    if row[name] is None:
        return ""
    low, high = (cell(row[f"{name}_{end}"], form, absent="?") for end in ("low", "high"))
    return f"{row[name]:{form}} ({low} to {high})"
