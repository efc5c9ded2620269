"""Teacher and student as a pair: ids, splitting of text, and ends that they must share."""

from typing import Any, Protocol

import torch

from distillkit.distributed.placement import ALONE, Placement
from distillkit.models.language_model import LanguageModel
from distillkit.models.loading import load
from distillkit.models.pretrained import Student, Teacher
from distillkit.models.shared_ids import share_ids


class Ends(Protocol):
    """Who ends its text with some tokens."""

    stop_ids: frozenset[int]
    end_id: int

    @property
    def tokenizer(self) -> Any:
        """A transformers tokenizer."""


def load_pair(
    student: Student,
    teacher: Teacher | None,
    *,
    device: torch.device,
    precision: str,
    placement: Placement = ALONE,
) -> tuple[LanguageModel, LanguageModel | None, list[str]]:
    """Both models, checked against each other, and notes for the user; no teacher if none is given.

    Raises:
        ModelError: one of them cannot be loaded or trusted, or they do not fit each other.
    """
    below, above = load_both(
        student, teacher, device=device, precision=precision, placement=placement
    )
    if above is None:
        return below, None, []
    share_ids(above, below)
    return below, above, agree_on_the_end(above, below)


def load_both(
    student: Student,
    teacher: Teacher | None,
    *,
    device: torch.device,
    precision: str,
    placement: Placement = ALONE,
) -> tuple[LanguageModel, LanguageModel | None]:
    """Both models, each by itself; no teacher if none is given.

    Raises:
        ModelError: one of them cannot be loaded or trusted.
    """
    above = (
        None
        if teacher is None
        else load(teacher, device=device, precision=precision, placement=placement.of_teacher)
    )
    below = load(student, device=device, precision=precision, placement=placement)
    return below, above


def agree_on_the_end(teacher: Ends, student: LanguageModel) -> list[str]:
    """Let both models stop at either's end tokens, and close references with the teacher's.

    A base student under an instruct teacher would otherwise never stop where the teacher does.

    Returns:
        A note for the user where the two differed.
    """
    if (teacher.end_id, teacher.stop_ids) == (student.end_id, student.stop_ids):
        return []
    teacher.stop_ids = teacher.stop_ids | student.stop_ids
    end_as(student, end_id=teacher.end_id, stop_ids=teacher.stop_ids)
    ends = teacher.tokenizer.convert_ids_to_tokens(sorted(teacher.stop_ids))
    closing = teacher.tokenizer.convert_ids_to_tokens(teacher.end_id)
    return [
        f"teacher and student end their text differently: {' and '.join(ends)} may end a response "
        f"of either, and references are closed with {closing}"
    ]


def end_as(student: LanguageModel, *, end_id: int, stop_ids: frozenset[int]) -> None:
    """Let a student close references with an end token, and stop at several."""
    if (end_id, stop_ids) == (student.end_id, student.stop_ids):
        return
    student.end_id, student.stop_ids = end_id, stop_ids
    student.module.generation_config.eos_token_id = sorted(stop_ids)
