"""What ``distillkit eval`` left in a run directory for one split, as far as it is there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from distillkit.evaluation.folder import EvaluationFolder
from distillkit.metrics.base import Record

WHO = ("student", "start", "teacher")
"""Whom an evaluation measures."""

MADE_FROM = ("examples", "samples", "seed", "max_new_tokens", "reference")
"""What two evaluations must share for their numbers to be paired."""


@dataclass(frozen=True, slots=True)
class Value:
    """A number with its 95 % interval, None where there is none."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Numbers of one run on one split."""

    source: str
    """``eval`` for the folder of an evaluation, ``training`` for a summary alone."""
    n: int
    """Examples."""
    selection: str
    """The rule that chose the weights."""
    metrics: Mapping[str, Mapping[str, Any]]
    """Fields of each metric's spec, by name."""
    numbers: Mapping[str, Mapping[str, Mapping[str, Value]]]
    """Whom, metric and number to the value."""
    curves: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]]
    """Whom, metric and name to columns."""
    records: Mapping[str, Mapping[str, Record]]
    """Metric and example id to what the student's answer contributes."""
    items: Sequence[Mapping[str, Any]]
    """An example each, with the texts of all three."""
    made_from: Mapping[str, Any]
    """Digest of the examples, and how texts were written."""

    def number(self, metric: str, number: str, *, who: str = "student") -> Value | None:
        """One number, None where it was not measured."""
        return self.numbers.get(who, {}).get(metric, {}).get(number)


def read_evaluation(run: Path, split: str) -> Evaluation | None:
    """The evaluation in ``evaluation/<split>/``; None where there are no results.

    Raises:
        RunError: a file is damaged, or another run's.
    """
    kept = EvaluationFolder(run, split).kept()
    if kept is None:
        return None
    results = kept.results
    records: dict[str, dict[str, Record]] = {}
    for line in kept.records:
        for metric, record in line.get("student", {}).items():
            records.setdefault(metric, {})[line["id"]] = record
    return Evaluation(
        source="eval",
        n=results["n"],
        selection=results.get("selection", "not stated"),
        metrics=results.get("metrics", {}),
        numbers={
            who: {
                metric: {name: value for name, entry in numbers.items() if (value := _value(entry))}
                for metric, numbers in results["numbers"].get(who, {}).items()
            }
            for who in WHO
        },
        curves=results.get("curves", {}),
        records=records,
        items=tuple(kept.items),
        made_from={name: results.get(name) for name in MADE_FROM},
    )


def from_summary(summary: Mapping[str, Any]) -> Evaluation | None:
    """The closing numbers of a training, as an evaluation without records; None if it has none."""
    names = zip(WHO, ("student_after", "student_before", "teacher"), strict=True)
    closing = {who: summary.get(name) or {} for who, name in names}
    if not closing["student"]:
        return None
    return Evaluation(
        source="training",
        n=closing["student"].get("n", 0),
        selection=summary.get("selection", "not stated"),
        metrics={},
        numbers={who: _judged(row) for who, row in closing.items() if row},
        curves={},
        records={},
        items=(),
        made_from={},
    )


def _judged(row: Mapping[str, float]) -> dict[str, dict[str, Value]]:
    if "accuracy" in row:
        return {"accuracy": {"accuracy": Value(row["accuracy"], row.get("low"), row.get("high"))}}
    return {"nll": {"nll": Value(row["nll"])}} if "nll" in row else {}


def _value(entry: Mapping[str, Any]) -> Value | None:
    value, low, high = (_finite(entry.get(key)) for key in ("value", "low", "high"))
    return None if value is None else Value(value, low, high)


def _finite(number: float | None) -> float | None:
    return number if number is not None and isfinite(number) else None
