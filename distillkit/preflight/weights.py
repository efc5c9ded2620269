"""Heads against real ids, weights that are numbers, and two sides that differ."""

from collections.abc import Iterator

import torch

from distillkit.models.pretrained import SelfTeacher
from distillkit.objectives.kd import KD
from distillkit.objectives.reward import RewardObjective
from distillkit.preflight.finding import Finding, fatal, ok, warning
from distillkit.preflight.subject import Subject

LEARNS_BESIDE = (KD, RewardObjective)
"""Objectives in which something else than the teacher is learned from, too."""


def heads(subject: Subject) -> Iterator[Finding]:
    """Which rows of each head have a real id, and which tokens have none."""
    for side, model in subject.sides():
        head, prompts = model.head, model.prompts
        rows = len(head.weight)
        cut = f"{rows - head.vocabulary} rows are padding and are cut"
        padding = cut if rows > head.vocabulary else "no padding"
        gaps = f", {head.vocabulary - head.real} ids have no token and are masked"
        yield ok(
            f"{side}: a head of {rows} rows for {head.real} real ids, {padding}"
            + (gaps if head.holes is not None else "")
        )
        if prompts.unscored:
            names = prompts.tokenizer.convert_ids_to_tokens(sorted(prompts.unscored)[:3])
            yield warning(
                f"{side}: {len(prompts.unscored)} tokens are given no probability by either side, "
                f"such as {', '.join(map(repr, names))}",
                why="one of the two models has no row, or no token, for them",
                mend="Leave it so where no answer needs them, or choose models of one tokenizer",
            )


def finite(subject: Subject) -> Iterator[Finding]:
    """No weight is NaN or infinite, wherever the probe of loading did not pass."""
    for side, model in subject.sides():
        bad = [
            name for name, tensor in model.module.named_parameters() if not _is_finite(tensor.data)
        ]
        if bad:
            yield fatal(
                f"{side}.name={getattr(subject.run, side).name} has weights that are not finite, "
                f"in {len(bad)} tensors, first {bad[0]}",
                why="the first text that touches them turns the loss into NaN",
                mend=f"Copy or download the {side} again, or set {side}.dtype=float32",
            )
        else:
            count = sum(tensor.numel() for tensor in model.module.parameters())
            yield ok(f"{side}: {count:,} weights, all finite")


def different(subject: Subject) -> Iterator[Finding]:
    """There is something to learn: the sides are not one model."""
    if isinstance(subject.run.teacher, SelfTeacher):
        yield _of_itself(subject)
        return
    teacher = subject.teacher.module.state_dict()
    student = subject.student.module.state_dict()
    if teacher.keys() == student.keys() and all(
        _is_equal(tensor, student[name]) for name, tensor in teacher.items()
    ):
        yield warning(
            "teacher and student have identical weights",
            why="where they read the same prompt the loss is 0 and nothing is learned; of use as "
            "a control only",
            mend="Choose another teacher with teacher.name=...",
        )
    else:
        yield ok("teacher and student have different weights")


def _of_itself(subject: Subject) -> Finding:
    """A student's base tells it something if it reads something else, or holds it back."""
    elsewhere = subject.teacher.prompts is not subject.student.prompts
    objective = subject.run.objective
    if elsewhere or isinstance(objective, LEARNS_BESIDE) or not objective.needs_teacher():
        return ok("the teacher is the student's own base")
    return warning(
        "teacher=self is the student as it begins, and reads the same prompts",
        why="the loss is 0 from the first update on and nothing is learned; of use as a control "
        "only",
        mend="Have it read otherwise with teacher.prompt=... or teacher.template=..., or use "
        "objective=reward, in which it keeps the student near its base",
    )


def _is_finite(tensor: torch.Tensor) -> bool:
    # A sum is not finite where a term is not, and needs no second tensor of that size; fp64 and
    # a look at the terms guard against large but finite ones.
    if tensor.sum(dtype=torch.float64).isfinite():
        return True
    return bool(tensor.isfinite().all())


def _is_equal(left: torch.Tensor, right: torch.Tensor) -> bool:
    # Of what is dealt out, what this process holds: the two may be dealt out in different ways.
    left, right = (each.to_local() if hasattr(each, "to_local") else each for each in (left, right))
    return left.shape == right.shape and bool(torch.equal(left, right.to(left.dtype)))
