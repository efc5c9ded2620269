"""The tables that undo-iterate prints."""

from collections.abc import Mapping
from typing import Any

from rich.table import Column, Table

from distillkit.core.terminal import cell, of_numbers

SPLITS = ("validation", "test", "elsewhere")


def accuracy_table(summary: Mapping[str, Any]) -> Table:
    """Every student: what it learnt from, and how often it is right."""
    splits = [split for split in SPLITS if split in summary["rows"][0]["accuracy"]]
    table = Table(
        Column(no_wrap=True),
        *of_numbers("steps", *splits, "lessons", "tokens", "nats"),
        title=f"{summary['name']}: {summary['returned']} is returned ({summary['reason']})",
        caption="±: half of Wilson's 95 % interval; lessons: accepted / retried / fallback; nats: "
        "a token of the lessons, under the student that is about to learn from them",
    )
    for row in summary["rows"]:
        shares = [row.get(status) for status in ("accepted", "retried", "fallback")]
        mark = " *" if row["name"] == summary["returned"] else ""
        table.add_row(
            f"{row['name']}{mark}",
            str(row["steps"]),
            *(_share(row["accuracy"][split]) for split in splits),
            "-" if None in shares else "/".join(f"{100 * share:.0f}" for share in shares) + " %",
            cell(row.get("mean_tokens"), ".1f", absent="-"),
            cell(row.get("nll_before"), ".3f", absent="-"),
            end_section=row["name"] == "start",
        )
    return table


def difference_table(summary: Mapping[str, Any]) -> Table:
    """The returned student against each baseline."""
    table = Table(
        Column(no_wrap=True),
        *of_numbers("student", "split", "gain", "95 % interval", "relative", "p"),
        title=f"{summary['returned']} against",
        caption="points of accuracy, paired over examples; p: McNemar, corrected by Holm",
    )
    for row in summary["differences"]:
        table.add_row(
            row["baseline"],
            row["right"],
            row["split"],
            f"{100 * row['estimate']:+.1f}",
            f"{100 * row['low']:+.1f} to {100 * row['high']:+.1f}",
            cell(row["relative"], "+.0%", absent="-"),
            "< 0.001" if row["p_holm"] < 0.001 else f"{row['p_holm']:.3f}",
        )
    return table


def error_table(summary: Mapping[str, Any]) -> Table:
    """What went wrong on validation, iteration by iteration."""
    rows = [row for row in summary["rows"] if "faults" in row]
    kinds = list(rows[0]["faults"])
    changes = ("fixed", "still wrong", "newly broken")
    table = Table(title="errors on validation, by kind and since the round before")
    table.add_column("", no_wrap=True)
    for column in (*kinds, *changes):
        table.add_column(column, justify="right")
    for row in rows:
        counts = [str(row["faults"][kind]) for kind in kinds]
        moved = [str(row["changes"].get(change, 0)) for change in changes]
        first = "right" in row["changes"] or "wrong" in row["changes"]
        table.add_row(row["name"], *counts, *(["-"] * len(changes) if first else moved))
    return table


def _share(share: Mapping[str, float]) -> str:
    return f"{share['value']:.1%} ±{50 * (share['high'] - share['low']):.1f}"
