"""What rewards need to know of an example: its answer, or responses that were given to it."""

from collections.abc import Callable, Sequence

from distillkit.core.errors import DataError
from distillkit.core.spec import name_of
from distillkit.core.types import Answer, Example, Split
from distillkit.datasets.base import Dataset
from distillkit.metrics.references import references
from distillkit.rewards.base import Judge

Check = Callable[[Example], None]
"""Raises DataError for an example that cannot be judged."""


def needs_answer(dataset: Dataset, *, reward: str) -> Check:
    """A check that an example has a final answer; ``reward`` is named as the user types it."""

    def check(example: Example) -> None:
        if not example.answer:
            raise DataError(
                f"dataset={name_of(dataset)}: the example {example.id} has no final answer, so "
                f"{reward} cannot judge responses to it. Use reward=rouge, reward=classifier or "
                f"reward=python, or {_way_to('answers', dataset)}."
            )

    return check


def needs_references(dataset: Dataset, *, reward: str, instead: str) -> Check:
    """A check that an example has a reference; ``instead`` is what else could be typed."""

    def check(example: Example) -> None:
        if not references(example):
            raise DataError(
                f"dataset={name_of(dataset)}: the example {example.id} has no reference response, "
                f"so {reward} cannot judge responses to it. Use {instead}, or "
                f"{_way_to('references', dataset)}."
            )

    return check


def _way_to(what: str, dataset: Dataset) -> str:
    if dataset.labelled is None:
        return f"a dataset whose examples have {what}"
    return f"leave dataset.labelled={dataset.labelled} out, which takes the {what} of the others"


def checked(score: Callable[[Answer], float], dataset: Dataset, check: Check) -> Judge:
    """A score of single answers as a judge that checks what it judges.

    Raises:
        DataError: the check refuses an example that is learnt from, before anything is written.
    """
    for example in dataset.gather([Split.train]).examples[Split.train]:
        check(example)

    def judge(answers: Sequence[Answer]) -> list[float]:
        for answer in answers:
            check(answer.example)
        return [score(answer) for answer in answers]

    return judge
