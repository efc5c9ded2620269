"""The hypotheses of arXiv:2505.15442 on any results, with intervals and Holm's correction.

The unit is a (teacher, student, method). H1: distillation improves on supervised training
(one-sided t) and methods differ (ANOVA). H2 to H5: improvement goes with the teacher's accuracy,
the student's size, its accuracy before (H3.2), agreement, and fidelity (Spearman).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from math import nan
from typing import Any, Self

from distillkit.evaluation.fidelity_study.results import Result, Selection, over_seeds, rule, select
from distillkit.statistics.correction import holm
from distillkit.statistics.correlation import spearman
from distillkit.statistics.finding import Finding
from distillkit.statistics.paired import t_test
from distillkit.statistics.variance import one_way_anova

UNIT = "(teacher, student, method)"
"""What n counts."""


class Question(StrEnum):
    """What is asked; the correlations are with the improvement."""

    improvement = "improvement"
    method = "method"
    teacher = "teacher"
    size = "size"
    start = "start"
    agreement = "agreement"
    fidelity = "fidelity"


NUMBER = {
    Question.improvement: "H1",
    Question.method: "H1, methods",
    Question.teacher: "H2",
    Question.size: "H3",
    Question.start: "H3.2",
    Question.agreement: "H4",
    Question.fidelity: "H5",
}
"""The paper's number of each question."""

FIELDS = {
    Question.teacher: "teacher_accuracy",
    Question.size: "student_size",
    Question.start: "sft_accuracy",
    Question.agreement: "agreement",
    Question.fidelity: "fidelity",
}
"""What the improvement is correlated with."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One question on one task."""

    question: Question
    """Which."""
    task: str
    """Which."""
    method: str | None
    """The only one counted, None where all are."""
    finding: Finding
    """Mean improvement, F, or rank correlation."""
    holm: float | None = None
    """p corrected over the tasks with the same question and method, averages included."""

    def as_dict(self) -> dict[str, Any]:
        """In JSON's types."""
        return {
            "question": str(self.question),
            "hypothesis": NUMBER[self.question],
            "task": self.task,
            "method": self.method,
            **self.finding.as_dict(),
            "holm": self.holm,
        }

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """The same again from what ``as_dict`` made of it."""
        finding = {field.name: told[field.name] for field in fields(Finding)}
        if finding["estimate"] is None:
            finding["estimate"] = nan
        place = Question(told["question"]), told["task"], told["method"]
        return cls(*place, Finding(**finding), told["holm"])


def answers(results: Iterable[Result], *, selection: Selection, tau: float = 1.0) -> list[Outcome]:
    """Ask every question on every task, over all methods and for each of them.

    Seeds are averaged first. A question is left out where fewer than three units have what it
    takes. p and intervals take units as independent; units that share a teacher or a student are
    not, least of all one pair's under several methods.

    Args:
        results: of any seeds, temperatures and tasks; an average is a task among others.
        selection: the rule that picks a temperature.
        tau: the temperature where the rule fixes it.

    Raises:
        DataError: a result is there twice, or none has this temperature.
    """
    chosen = select(over_seeds(results), selection, tau=tau)
    how = rule(selection, tau)
    found: list[Outcome] = []
    for task in dict.fromkeys(result.task for result in chosen):
        own = [result for result in chosen if result.task == task]
        for method in (None, *dict.fromkeys(result.method for result in own)):
            part = [result for result in own if method in (None, result.method)]
            for question in Question:
                finding = _ask(question, part, how)
                if finding is not None:
                    found.append(Outcome(question, task, method, finding))
    return corrected(found)


def _ask(question: Question, results: Sequence[Result], how: str) -> Finding | None:
    if question is Question.improvement:
        if len(results) < 3:
            return None
        return t_test(
            [result.accuracy for result in results],
            [result.sft_accuracy for result in results],
            alternative="greater",
            unit=UNIT,
            selection=how,
        )
    if question is Question.method:
        methods = dict.fromkeys(result.method for result in results)
        groups = [[r.improvement for r in results if r.method == method] for method in methods]
        if len(groups) < 2 or max(map(len, groups)) < 2:
            return None
        return one_way_anova(groups, unit=UNIT, selection=how)
    known = [(r.improvement, getattr(r, FIELDS[question])) for r in results]
    known = [(gain, value) for gain, value in known if value is not None]
    if len(known) < 3:
        return None
    gains, values = zip(*known, strict=True)
    return spearman(gains, values, unit=UNIT, selection=how)


def corrected(found: Sequence[Outcome]) -> list[Outcome]:
    """Holm's p beside each, a family being one test of one question and method over all tasks."""
    families: dict[tuple[Question, str | None, str], list[tuple[int, float]]] = {}
    for place, answer in enumerate(found):
        if answer.finding.p is not None:
            family = families.setdefault((answer.question, answer.method, answer.finding.test), [])
            family.append((place, answer.finding.p))
    told = list(found)
    for family in families.values():
        places, p_values = zip(*family, strict=True)
        for place, p in zip(places, holm(p_values), strict=True):
            told[place] = replace(found[place], holm=p)
    return told
