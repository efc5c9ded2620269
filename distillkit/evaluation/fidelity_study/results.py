"""Results of distilled students, and the rule that picks one temperature for each of them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import fmean

from distillkit.core.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One distilled student on one task; scores are percentages, None where not measured."""

    teacher: str
    """Name."""
    student: str
    """Name."""
    method: str
    """Name of the objective."""
    tau: float
    """Temperature of both distributions."""
    seed: int
    """Of the training."""
    task: str
    """Name, or that of an average of tasks."""
    accuracy: float
    """Of the distilled student."""
    sft_accuracy: float
    """Of the same student after plain supervised training."""
    agreement: float | None = None
    """Share of final answers that are the teacher's."""
    fidelity: float | None = None
    """Likeness of rationales to the teacher's."""
    teacher_accuracy: float | None = None
    """Of the tuned teacher."""
    student_size: float | None = None
    """Parameters, in billions."""

    @property
    def improvement(self) -> float:
        """Accuracy gained over supervised training.

        Not rounded, like the authors': gains that are equal on paper may rank apart, which moves a
        rank correlation of their tables by a hundredth at most.
        """
        return self.accuracy - self.sft_accuracy


class Selection(StrEnum):
    """Which temperature stands for a (teacher, student, method) on a task."""

    best = "best"
    fixed = "fixed"


def rule(selection: Selection, tau: float) -> str:
    """The rule in words."""
    if selection is Selection.best:
        return "best tau on the test score, for each task"
    return f"tau fixed at {tau:g}"


def average(results: Iterable[Result], name: str) -> list[Result]:
    """The unweighted mean over tasks of each student, as a task called ``name``.

    Raises:
        DataError: students differ in the tasks they were measured on, or a result is there twice.
    """
    groups = _grouped(results, lambda r: (r.teacher, r.student, r.method, r.tau, r.seed))
    tasks = [sorted(result.task for result in group) for group in groups]
    for group, own in zip(groups, tasks, strict=True):
        if own != tasks[0] or len(set(own)) < len(own):
            one = group[0]
            raise DataError(
                f"{one.method} of {one.teacher} to {one.student} at tau {one.tau:g} has results on "
                f"{', '.join(own)}, the first student on {', '.join(tasks[0])}; an average takes "
                "one result of every student on every task"
            )
    return [replace(_mean(group), task=name) for group in groups]


def over_seeds(results: Iterable[Result]) -> list[Result]:
    """One result for each (task, teacher, student, method, tau): the mean over its seeds.

    Seeds share everything but chance, so that counting each as a unit would count it twice.

    Raises:
        DataError: a seed is there twice.
    """
    groups = _grouped(results, lambda r: (r.task, r.teacher, r.student, r.method, r.tau))
    for group in groups:
        one = group[0]
        if len({result.seed for result in group}) < len(group):
            raise DataError(
                f"{one.method} of {one.teacher} to {one.student} at tau {one.tau:g} has two "
                f"results on {one.task} with one seed; leave one of them out"
            )
    return [_mean(group) for group in groups]


def select(results: Iterable[Result], selection: Selection, *, tau: float) -> list[Result]:
    """One result for each (task, teacher, student, method).

    Args:
        results: one for each temperature, as ``over_seeds`` gives them.
        selection: the largest improvement, or that at ``tau``.
        tau: the temperature where it is fixed; students without it are left out.

    Raises:
        DataError: no student has this temperature.
    """
    results = list(results)
    if selection is Selection.best:
        groups = _grouped(results, lambda r: (r.task, r.teacher, r.student, r.method))
        return [max(group, key=lambda r: r.improvement) for group in groups]
    kept = [result for result in results if result.tau == tau]
    if not kept:
        known = ", ".join(f"{value:g}" for value in sorted({result.tau for result in results}))
        raise DataError(f"no result has tau {tau:g}; there are {known or 'none at all'}")
    return kept


def _grouped(
    results: Iterable[Result], key: Callable[[Result], tuple[object, ...]]
) -> list[list[Result]]:
    groups: dict[tuple[object, ...], list[Result]] = {}
    for result in results:
        groups.setdefault(key(result), []).append(result)
    return list(groups.values())


def _mean(group: Sequence[Result]) -> Result:
    """The first result with the mean of every measure that all have."""
    return replace(
        group[0],
        accuracy=fmean(result.accuracy for result in group),
        sft_accuracy=fmean(result.sft_accuracy for result in group),
        agreement=_mean_known([result.agreement for result in group]),
        fidelity=_mean_known([result.fidelity for result in group]),
        teacher_accuracy=_mean_known([result.teacher_accuracy for result in group]),
        student_size=_mean_known([result.student_size for result in group]),
    )


def _mean_known(values: Sequence[float | None]) -> float | None:
    """Their mean, None where one is missing."""
    known = [value for value in values if value is not None]
    return fmean(known) if values and len(known) == len(values) else None
