"""What kind of error a wrong answer shows, by which UNDO (arXiv:2504.02521) sorts its evidence."""

from enum import StrEnum

from distillkit.core.types import Example
from distillkit.datasets.base import Dataset
from distillkit.datasets.equations import false_equations


class Fault(StrEnum):
    """Why an answer is wrong."""

    arithmetic = "arithmetic"
    setup = "setup"
    unparsable = "unparsable"


def fault_of(dataset: Dataset, example: Example, text: str) -> Fault | None:
    """The fault of an answer: ``arithmetic`` where it states a false equation, else ``setup``.

    Args:
        dataset: judges the answer.
        example: what was asked.
        text: the answer.

    Returns:
        ``unparsable`` where the dataset reads no final answer, whatever else there is; None where
        the answer is right.
    """
    if dataset.is_correct(example, text):
        return None
    if dataset.stated(example, text) is None:
        return Fault.unparsable
    return Fault.arithmetic if false_equations(text) else Fault.setup
