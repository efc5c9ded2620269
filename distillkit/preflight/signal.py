"""Does the objective vanish where it must, and does the teacher say more than a shuffled one?"""

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from distillkit.core.types import Author, Batch
from distillkit.divergences.apart import log_probs
from distillkit.divergences.base import Divergence
from distillkit.models.language_model import LanguageModel, evaluating
from distillkit.objectives.comparison import Comparison, Control
from distillkit.preflight.finding import Finding, fatal, ok, warning
from distillkit.preflight.subject import Subject, opinion_of

NOTHING = 1e-5
"""Loss in nats that counts as zero, and part of another teacher's loss."""
ROUNDING, COARSE = 3e-4, 5e-2
"""Part of the gradient under another teacher that rounding may leave, in fp32 and in bf16."""
EXACT = 1e-9
"""What fp64 may leave of a divergence between equal distributions."""
CHUNK_MB = 64
"""Mebibytes for logits."""
ERRORS = 3.0
"""Standard errors by which the right text must be likelier than a shuffled one."""


def zero(subject: Subject) -> Iterator[Finding]:
    """The student as its own teacher gives no loss and no gradient; the real pair gives both.

    Nothing is exactly 0 where the vocabulary is wide and the model deep. What rounding leaves is
    judged by the gradient of the same student under a teacher that says something else.
    """
    comparison = subject.run.objective.comparison()
    if comparison is None:
        yield ok("this objective compares no two models, so there is no zero to be seen")
        return
    if comparison.teacher_temperature != comparison.student_temperature:
        yield ok("the two temperatures differ, so the loss is not zero where the models agree")
        return
    yield from _about_a_table(comparison.divergence)
    yield from _alone(comparison, subject)
    pair, pair_norm = subject.losses[Control.none]
    if abs(pair) <= NOTHING:
        yield fatal(
            f"teacher and student already agree: the loss between them is {pair:.1g}",
            why="there is nothing to learn",
            mend="Choose another teacher.name=... or student.name=...",
        )
    else:
        yield ok(f"the real pair: loss {pair:.3g} nats a token, gradient {pair_norm:.3g}")


def _alone(comparison: Comparison, subject: Subject) -> Iterator[Finding]:
    """The student as its own teacher, and as one that is shuffled."""
    student = subject.student
    itself = opinion_of(student, subject.probe.student)
    loss, norm = subject.loss_and_norm(replace(comparison, control=Control.none), itself)
    other = replace(comparison, control=Control.shuffled_teacher)
    scale, full = subject.loss_and_norm(other, itself)
    full = max(full, subject.losses[Control.none][1])
    part = norm / full if full else 0.0
    seen = f"the student as its own teacher: loss {loss:.2g}, gradient {norm:.2g}"
    allowed = ROUNDING if student.module.dtype == torch.float32 and not student.autocast else COARSE
    if not (abs(loss) <= NOTHING * max(1.0, abs(scale)) and part <= allowed):
        yield fatal(
            f"{seen}, {part:.2g} of that under another teacher",
            why="both must be 0 to rounding; the divergence is judged above, so what is left is "
            "the support, the head or the arithmetic",
            mend="Set precision=fp32 with student.dtype=float32, then support=full, and see which "
            "of them it was; if it stays, please report it",
        )
    else:
        yield ok(f"{seen}, {part:.1g} of that under another teacher")


def _about_a_table(divergence: Divergence) -> Iterator[Finding]:
    """The divergence alone, in fp64, about distributions that agree."""
    generator = torch.Generator().manual_seed(0)
    table = log_probs(torch.randn(8, 32, generator=generator, dtype=torch.float64))
    value, slope = divergence.slope(table, table)
    # What is a multiple of the probabilities vanishes on the way through the softmax.
    slope = slope - slope.sum(-1, keepdim=True) * table.exp()
    off = max(float(value.abs().max()), float(slope.abs().max()))
    if off > EXACT:
        yield fatal(
            f"{type(divergence).__name__} is not 0 where both distributions agree: on a table of "
            f"its own, in fp64, its value or gradient is off by {off:.2g}",
            why="the objective pulls a perfect student away",
            mend="Choose another divergence=..., or mend the one that you wrote",
        )


def teacher_signal(subject: Subject) -> Iterator[Finding]:
    """The teacher likes the right text better than chance, a shuffle and the student do."""
    compared = subject.run.objective.needs_teacher()
    if not compared and not subject.authors & {Author.teacher, Author.mixture}:
        yield ok("nothing is learned from the teacher in this run, it is measured only")
        return
    probe = subject.probe
    teacher = _nlls(subject.teacher, probe.teacher)
    shuffled = _nlls(subject.teacher, probe.teacher, rolled=True)
    student = _nlls(subject.student, probe.student)
    uniform = math.log(subject.student.head.real)
    right, wrong, own = (float(part.mean()) for part in (teacher, shuffled, student))
    gain = shuffled - teacher
    error = float(gain.std()) / math.sqrt(len(gain)) if len(gain) > 1 else math.inf
    figures = (
        f"nats a token on {len(teacher)} tokens: teacher {right:.2f}, student {own:.2f}, "
        f"shuffled teacher {wrong:.2f}, uniform {uniform:.2f}"
    )
    weak = [*_weaknesses(figures, right=right, own=own, uniform=uniform)]
    if not right < wrong - ERRORS * error:
        yield fatal(
            f"the teacher is no better than one that is shuffled over the positions; {figures}",
            why="what it says has nothing to do with the text, so nothing of it can be learned",
            mend="Check teacher.name, teacher.prompt and the dataset, or choose another teacher",
        )
    elif not weak:
        yield ok(f"{figures}")
    yield from weak
    yield from _heard(subject)


def _weaknesses(figures: str, *, right: float, own: float, uniform: float) -> Iterator[Finding]:
    mend = "Choose a stronger teacher.name=..., another teacher.prompt=..., or another dataset"
    if right >= uniform:
        yield warning(
            f"the teacher is no better than the uniform distribution; {figures}",
            why="it has not learned this kind of text, or reads it in a wrong format",
            mend=mend,
        )
    if right >= own:
        yield warning(
            f"the teacher is no better than the student on this text; {figures}",
            why="the student can hardly win by imitating it",
            mend=mend,
        )


def _heard(subject: Subject) -> Iterator[Finding]:
    """The objective must depend on what the teacher says where: its gradient, if not its value.

    A bounded divergence has one value for all teachers that are far from the student.
    """
    comparison = subject.run.objective.comparison()
    if comparison is None:
        return
    right, rolled = (subject.losses[each] for each in (Control.none, Control.shuffled_teacher))
    if all(
        math.isclose(left, other, rel_tol=1e-5, abs_tol=NOTHING)
        for left, other in zip(right, rolled, strict=True)
    ):
        yield fatal(
            f"the loss is {right[0]:.4g} with the teacher and with a shuffled one alike",
            why="the teacher's opinion does not reach the loss",
            mend="Check teacher.name and divergence=...",
        )
    else:
        yield ok(
            f"the loss hears the teacher: {right[0]:.3g}, shuffled {rolled[0]:.3g}; gradient "
            f"{right[1]:.3g}, shuffled {rolled[1]:.3g}"
        )
    if comparison.control is not Control.none:
        yield warning(
            f"objective.control={comparison.control} breaks the teacher on purpose",
            why="the student will learn from noise",
            mend="Set objective.control=none",
        )


def _nlls(model: LanguageModel, batch: Batch, *, rolled: bool = False) -> Tensor:
    """Negative log-likelihood of every target [N], in nats, fp32 on the CPU.

    Args:
        model: who judges.
        batch: the text as it reads it.
        rolled: judge each target from the hidden state of another position.
    """
    with evaluating(model):
        opinion = opinion_of(model, batch)
        return -(opinion.rolled() if rolled else opinion).drawn(chunk_mb=CHUNK_MB).cpu()
