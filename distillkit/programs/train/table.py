"""The closing table of a run."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from distillkit.evaluation.passages import PassageQuality
from distillkit.evaluation.quality import Quality

WHO = ("student_before", "student_after", "teacher")
OF_ANSWERS = ("accuracy", "95 % interval", "n", "nll / token", "truncated")
OF_TEXT = ("perplexity", "KL to the teacher", "n", "nll / token", "bits / byte")


def numbers(quality: Quality | PassageQuality | None) -> dict[str, float]:
    """Final numbers of one model, with the interval of its accuracy; none of None."""
    if quality is None:
        return {}
    if isinstance(quality, PassageQuality) or not quality.accuracy.total:
        return {**quality.numbers(), "n": quality.count}
    low, high = quality.accuracy.interval()
    return {**quality.numbers(), "low": low, "high": high, "n": quality.accuracy.total}


def closing_table(summary: Mapping[str, Any]) -> Table:
    """Student before, student after and teacher, with 95 % intervals, or on running text."""
    table = Table(title=f"{summary['name']} ({summary['split']}, {summary['selection']} weights)")
    table.add_column("")
    rows = {who: summary.get(who) or {} for who in WHO}
    of_text = any("perplexity" in row for row in rows.values())
    for column in OF_TEXT if of_text else OF_ANSWERS:
        table.add_column(column, justify="right")
    for who, row in rows.items():
        if row:
            cells = _of_text(row) if of_text else _of_answers(row)
            table.add_row(who.replace("_", " "), *cells)
    return table


def _of_text(row: Mapping[str, float]) -> tuple[str, ...]:
    apart, bits = row.get("kl_to_teacher"), row.get("bits_per_byte")
    return (
        f"{row['perplexity']:.3g}",
        "-" if apart is None else f"{apart:.3f}",
        str(row["n"]),
        f"{row['nll']:.3f}",
        "-" if bits is None else f"{bits:.4f}",
    )


def _of_answers(row: Mapping[str, float]) -> tuple[str, ...]:
    counted = str(row["n"]), f"{row['nll']:.3f}", f"{row['truncated_share']:.1%}"
    return (*share_cells(row), *counted)


def share_cells(row: Mapping[str, float]) -> tuple[str, str]:
    """The accuracy of a model and its interval, where it was judged."""
    if "accuracy" not in row:
        return "-", "-"
    return f"{row['accuracy']:.1%}", f"{row['low']:.1%} to {row['high']:.1%}"
