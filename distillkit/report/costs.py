"""What each configuration was given and what it used, means over its seeds."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from distillkit.report.groups import ABSENT, Group

COLUMNS: Mapping[str, Callable[[Mapping[str, Any]], float | None]] = {
    "gold labels": lambda summary: _budget(summary, "gold_labels"),
    "prompts": lambda summary: _budget(summary, "prompts"),
    "teacher wrote, tokens": lambda summary: _budget(summary, "teacher_wrote"),
    "teacher read, tokens": lambda summary: _budget(summary, "teacher_read"),
    "training, s": lambda summary: summary.get("training_seconds"),
}

NOTE = (
    "Gold labels: training examples whose reference or answer the run could read. Seconds are of "
    "whatever machine each run was on, validation on the way included."
)


def costs(groups: Sequence[Group]) -> dict[str, tuple[str, ...]]:
    """A row of texts for each configuration, by its key; empty where no run tells any cost."""
    rows = {group.key: tuple(_mean(group, of) for of in COLUMNS.values()) for group in groups}
    told = any(text != ABSENT for row in rows.values() for text in row)
    return rows if told else {}


def _mean(group: Group, of: Callable[[Mapping[str, Any]], float | None]) -> str:
    found = [value for run in group.runs if (value := of(run.summary)) is not None]
    return f"{fmean(found):,.0f}" if found else ABSENT


def _budget(summary: Mapping[str, Any], name: str) -> float | None:
    number: float | None = (summary.get("budget") or {}).get(name)
    return number
