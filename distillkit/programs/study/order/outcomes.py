"""What the measured runs of a cell found, and how two cells differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distillkit.core.errors import DataError
from distillkit.core.reading import read_json_lines
from distillkit.core.rundir import WAY_OUT, RunDirectory
from distillkit.core.shapes import Verdict
from distillkit.programs.train.standing import METRICS, VERDICTS
from distillkit.statistics import bootstrap
from distillkit.statistics.finding import Finding
from distillkit.statistics.paired import bootstrap_difference, t_test

Verdicts = np.ndarray[Any, np.dtype[np.float64]]
"""Whether each test example was answered rightly [examples, seeds]."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A cell's runs, one a seed."""

    rate: float
    steps: int
    scores: tuple[float, ...]
    """Of each seed: share of right answers, or minus the nats of a token where nothing is judged.
    Higher is better."""
    right: Verdicts | None
    """None where nothing is judged."""
    start: float
    """Score of the student before."""
    teacher: float | None
    """Of the teacher, where one was measured."""
    tokens: float
    """Response tokens that a run learnt from, each as often as it did; mean over seeds."""
    seconds: float
    """Of a run's updates; median over seeds, since other work may slow some."""
    budget: Mapping[str, float]
    """Of its runs, mean over seeds."""

    @property
    def mean(self) -> float:
        """Score over seeds."""
        return float(np.mean(self.scores))


def outcome_of(rate: float, runs: Sequence[RunDirectory]) -> Outcome:
    """Read a cell's runs.

    Raises:
        RunError: something in one was changed.
        DataError: they were measured on different examples.
    """
    summaries = [run.summary or {} for run in runs]
    sides = ("student_after", "student_before", "teacher")
    after, before, teacher = ([_score(each[side]) for each in summaries] for side in sides)
    scores = [score for score in after if score is not None]
    if len(scores) < len(runs) or before[0] is None:
        raise DataError(f"{runs[0].path} was measured by nothing that could be compared.")
    judged = all("accuracy" in each["student_after"] for each in summaries)
    return Outcome(
        rate=rate,
        steps=summaries[0]["steps"],
        scores=tuple(scores),
        right=right(runs) if judged else None,
        start=before[0],
        teacher=teacher[0],
        tokens=float(np.mean([_tokens(run) for run in runs])),
        seconds=float(np.median([each["training_seconds"] for each in summaries])),
        budget={
            name: float(np.mean([each["budget"][name] for each in summaries]))
            for name in summaries[0]["budget"]
        },
    )


def right(runs: Sequence[RunDirectory]) -> Verdicts:
    """Whether each test example was answered rightly [examples, seeds].

    Raises:
        RunError: verdicts were changed.
        DataError: they are about different examples.
    """
    columns = []
    for run in runs:
        run.check_left(VERDICTS)
        rows = read_json_lines(run.path / VERDICTS, Verdict, way_out=WAY_OUT)
        columns.append({row["id"]: float(row["student"]) for row in rows})
        if columns[-1].keys() != columns[0].keys():
            raise DataError(
                f"{runs[0].path} and {run.path} were not measured on the same examples. {WAY_OUT}"
            )
    ids = sorted(columns[0])
    return np.array([[column[each] for column in columns] for each in ids])


def difference(left: Outcome, against: Outcome) -> Finding | None:
    """Left minus right: paired over examples with seeds held fixed, or where nothing is judged over
    seeds; None of one seed there.

    Raises:
        DataError: they were measured on different examples.
    """
    if left.right is not None and against.right is not None:
        return shift([left.right], [against.right])
    return t_test(left.scores, against.scores) if len(left.scores) > 1 else None


def shift(left: Sequence[Verdicts], against: Sequence[Verdicts]) -> Finding:
    """Difference of the mean shares of right answers of several cells, paired over examples."""
    sides = [np.mean([each.mean(1) for each in side], axis=0) for side in (left, against)]
    ones = np.ones(len(sides[0]))
    return bootstrap_difference((sides[0], ones), (sides[1], ones))


def reach(outcome: Outcome) -> tuple[float, float] | None:
    """95 % interval of the mean score, over examples with seeds held fixed; None of one number."""
    if outcome.right is not None:
        each = outcome.right.mean(1)
        return bootstrap.interval(bootstrap.counts(len(each)) @ each / len(each))
    if len(outcome.scores) < 2:
        return None
    found = t_test(outcome.scores, np.zeros(len(outcome.scores)))
    return None if found.low is None or found.high is None else (found.low, found.high)


def _score(numbers: Mapping[str, float]) -> float | None:
    if "accuracy" in numbers:
        return numbers["accuracy"]
    return -numbers["nll"] if "nll" in numbers else None


def _tokens(run: RunDirectory) -> float:
    run.check_left(METRICS)
    rows = read_json_lines(run.path / METRICS, dict[str, float], way_out=WAY_OUT)
    return sum(row.get("tokens", 0.0) for row in rows)
