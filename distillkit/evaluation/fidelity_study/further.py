"""What the paper does not ask: tests of ranks with effect sizes, all tasks at once, departures.

Units of the tests by task are the paper's, (teacher, student, method), each the mean over seeds.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from distillkit.evaluation.fidelity_study.hypotheses import (
    FIELDS,
    UNIT,
    Outcome,
    Question,
    corrected,
)
from distillkit.evaluation.fidelity_study.own import Cell, Row
from distillkit.evaluation.fidelity_study.results import Result, over_seeds
from distillkit.statistics.correlation import pearson, spearman
from distillkit.statistics.finding import Finding
from distillkit.statistics.paired import t_test
from distillkit.statistics.ranks import kruskal_wallis, wilcoxon

GROUPS: dict[Question, Callable[[Result], str]] = {
    Question.method: lambda result: result.method,
    Question.teacher: lambda result: result.teacher,
    Question.size: lambda result: result.student,
}
"""What gains are grouped by."""

MEASURES = ("agreement", "agreement_teacher_wrong", "bleu", "rouge", "top1", "kl")
"""What a gain may go with."""

CENTRED_UNIT = "(teacher, student, method, task), less the task's mean"


def ranked(results: Iterable[Result], *, selection: str) -> list[Outcome]:
    """Wilcoxon's test of the gain, Kruskal and Wallis's of groups, Pearson's correlations.

    Args:
        results: of one temperature; any seeds and tasks.
        selection: the rule that picked it, in words.
    """
    found: list[Outcome] = []
    results = over_seeds(results)
    told = {"unit": UNIT, "selection": selection}
    for task in dict.fromkeys(result.task for result in results):
        own = [result for result in results if result.task == task]
        if len(own) < 3:
            continue
        left, right = zip(*((r.accuracy, r.sft_accuracy) for r in own), strict=True)
        gain = wilcoxon(left, right, alternative="greater", **told)
        found.append(Outcome(Question.improvement, task, None, gain))
        for question, name in GROUPS.items():
            groups: dict[str, list[float]] = {}
            for result in own:
                groups.setdefault(name(result), []).append(result.improvement)
            if len(groups) > 1:
                spread = kruskal_wallis(list(groups.values()), **told)
                found.append(Outcome(question, task, None, spread))
        for question, field in FIELDS.items():
            known = [(r.improvement, getattr(r, field)) for r in own]
            if all(value is not None for _, value in known):
                together = pearson(*zip(*known, strict=True), **told)
                found.append(Outcome(question, task, None, together))
    return corrected(found)


@dataclass(frozen=True, slots=True)
class Together:
    """How a gain goes with a measure of likeness over all tasks at once."""

    measure: str
    """One of :data:`MEASURES`; for kl, the nearer the teacher, the smaller."""
    spearman: Finding
    pearson: Finding

    def as_dict(self) -> dict[str, Any]:
        """In JSON's types."""
        tests = {"spearman": self.spearman.as_dict(), "pearson": self.pearson.as_dict()}
        return {"measure": self.measure, **tests}


def pooled(rows: Iterable[Row], *, selection: str) -> list[Together]:
    """Correlations over all tasks, of what is left when a task's mean is taken from both sides.

    Tasks differ in how much can be gained and in how alike answers look, which says nothing of a
    student. A measure is left out where fewer than three units have it.
    """
    units = [_means(group) for group in _groups(rows)]
    found = []
    for measure in MEASURES:
        gains: list[float] = []
        values: list[float] = []
        for task in dict.fromkeys(unit["task"] for unit in units):
            own = [
                (unit["gain"], unit[measure])
                for unit in units
                if unit["task"] == task and unit[measure] is not None
            ]
            if len(own) > 1:
                gains += _centred([gain for gain, _ in own])
                values += _centred([value for _, value in own])
        if len(gains) >= 3:
            tests = (
                test(gains, values, unit=CENTRED_UNIT, selection=selection)
                for test in (spearman, pearson)
            )
            found.append(Together(measure, *tests))
    return found


def averaged(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Means over seeds of each teacher, student, task, method, tau and noise, with the gain's t.

    ``gain_low`` and ``gain_high`` are the 95 % interval, ``gain_p`` has two sides; the pairs are
    seeds.

    Raises:
        DataError: one has fewer than two seeds.
    """
    found = []
    for group in _groups(rows):
        test = t_test([row.accuracy for row in group], [row.sft_accuracy for row in group])
        ends = {"gain_low": test.low, "gain_high": test.high, "gain_p": test.p}
        found.append(_means(group) | ends)
    return found


def _groups(rows: Iterable[Row]) -> list[list[Row]]:
    """What differs in its seed alone."""
    groups: dict[Cell, list[Row]] = {}
    for row in rows:
        groups.setdefault(replace(row.cell, seed=0), []).append(row)
    return list(groups.values())


def _means(group: Sequence[Row]) -> dict[str, Any]:
    lines = [row.as_dict() for row in group]
    told: dict[str, Any] = {}
    for name, value in lines[0].items():
        if name == "seed":
            told["seeds"] = len(group)
        elif isinstance(value, str):
            told[name] = value
        else:
            known = [line[name] for line in lines if line[name] is not None]
            told[name] = fmean(known) if len(known) == len(lines) else None
    return told


def departures(rows: Sequence[Row], *, tau: float, noise: float) -> list[dict[str, Any]]:
    """Each other tau and noise beside the grid's own, in lines of :func:`averaged`.

    ``change`` is its accuracy less that of the same cells at ``tau`` and ``noise``, with the 95 %
    interval of a t-test paired by seeds.
    """
    kept = {_pair(row) for row in rows if (row.cell.tau, row.cell.noise) != (tau, noise)}
    own = [row for row in rows if _pair(row) in kept]
    found = []
    for line in averaged(own):
        mine = _accuracies(own, line, line["tau"], line["noise"])
        base = _accuracies(own, line, tau, noise)
        test = t_test([mine[seed] for seed in base], list(base.values()))
        change = {"change": test.estimate, "change_low": test.low, "change_high": test.high}
        found.append({**line, **change, "change_p": test.p})
    return sorted(found, key=lambda line: (line["task"], line["noise"], line["tau"]))


def _pair(row: Row) -> tuple[str, ...]:
    return row.cell.teacher, row.cell.student, row.cell.task, row.cell.method


def _accuracies(
    rows: Sequence[Row], line: dict[str, Any], tau: float, noise: float
) -> dict[int, float]:
    return {
        row.cell.seed: row.accuracy
        for row in rows
        if row.cell.task == line["task"] and (row.cell.tau, row.cell.noise) == (tau, noise)
    }


def _centred(values: Sequence[float]) -> list[float]:
    mean = fmean(values)
    return [value - mean for value in values]
