"""What each configuration was given and what it used, means over its seeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from distillkit.report.groups import Group
from distillkit.report.settings import ABSENT

COLUMNS: Mapping[str, Callable[[Mapping[str, Any]], float | None]] = {
    "gold labels": lambda summary: _budget(summary, "gold_labels"),
    "prompts": lambda summary: _budget(summary, "prompts"),
    "teacher wrote, tokens": lambda summary: _budget(summary, "teacher_wrote"),
    "teacher read, tokens": lambda summary: _budget(summary, "teacher_read"),
    "teacher, s": lambda summary: _teacher(summary, "seconds"),
    "teacher, MB": lambda summary: _teacher(summary, "bytes", scale=1e-6),
    "teacher's price": lambda summary: _teacher(summary, "price"),
    "price a point": lambda summary: price_of_a_point(summary),
    "training, s": lambda summary: summary.get("training_seconds"),
}

NOTE = (
    "Gold labels: training examples whose reference or answer the run could read. Seconds are of "
    "whatever machine each run was on, validation on the way included."
)


@dataclass(frozen=True, slots=True)
class Costs:
    """A table of texts."""

    rows: Mapping[str, tuple[str, ...]]
    """One for each configuration, by its key; none where no run tells any cost."""
    columns: tuple[str, ...]
    """Headings."""
    note: str = NOTE
    """How to read it."""


def costs_of(groups: Sequence[Group]) -> Costs:
    """What the runs of each configuration say; what is nothing in all of them has no column."""
    columns = {
        name: texts
        for name, of in COLUMNS.items()
        if not set(texts := [_mean(group, of) for group in groups]) <= {ABSENT, "0"}
    }
    rows = dict(
        zip((group.key for group in groups), zip(*columns.values(), strict=True), strict=False)
    )
    return Costs(rows, tuple(columns))


def _mean(group: Group, of: Callable[[Mapping[str, Any]], float | None]) -> str:
    found = [value for run in group.runs if (value := of(run.summary)) is not None]
    if not found:
        return ABSENT
    mean = fmean(found)
    return f"{mean:,.0f}" if mean >= 100 or not mean % 1 else f"{mean:,.3g}"


def _budget(summary: Mapping[str, Any], name: str) -> float | None:
    number: float | None = (summary.get("budget") or {}).get(name)
    return number


def _teacher(summary: Mapping[str, Any], name: str, *, scale: float = 1.0) -> float | None:
    number: float | None = (summary.get("teacher_costs") or {}).get(name)
    return None if number is None else scale * number


def price_of_a_point(summary: Mapping[str, Any]) -> float | None:
    """What was paid for a point of accuracy that the student gained."""
    price, before, after = (
        _teacher(summary, "price"),
        *((summary.get(who) or {}).get("accuracy") for who in ("student_before", "student_after")),
    )
    if not price or before is None or after is None or after <= before:
        return None
    return price / (100 * (after - before))
