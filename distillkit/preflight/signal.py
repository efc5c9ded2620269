"""Does the objective vanish where it must, and does the teacher say more than a shuffled one?"""

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from distillkit.core.types import Author, Batch
from distillkit.models.language_model import LanguageModel, evaluating
from distillkit.objectives.base import Objective, Scored
from distillkit.objectives.divergence import Control, DivergenceObjective
from distillkit.preflight.finding import Finding, fatal, ok, warning
from distillkit.preflight.subject import Subject

NOTHING = 1e-5
"""Loss in nats, and part of the real pair's gradient, that count as zero."""
POSITIONS = 128
"""Positions projected to the vocabulary at a time."""
ERRORS = 3.0
"""Standard errors by which the right text must be likelier than a shuffled one."""


def zero(subject: Subject) -> Iterator[Finding]:
    """The student as its own teacher gives no loss and no gradient; the real pair gives both."""
    objective = subject.run.objective.comparison()
    if not isinstance(objective, DivergenceObjective):
        yield ok("this objective compares no two models, so there is no zero to be seen")
        return
    if objective.teacher_temperature != objective.student_temperature:
        yield ok("the two temperatures differ, so the loss is not zero where the models agree")
        return
    scored, student = subject.probe.scored, subject.student
    plain = replace(objective, control=Control.none)
    pair, pair_norm = _loss_and_norm(plain, scored, student, subject.teacher)
    alone = Scored(student=scored.student, teacher=scored.student, weights=scored.weights)
    loss, norm = _loss_and_norm(plain, alone, student, student)
    if not (abs(loss) <= NOTHING and norm <= NOTHING * max(1.0, pair_norm)):
        yield fatal(
            f"the student as its own teacher: loss {loss:.2g}, gradient {norm:.2g}",
            why="both must be 0: the objective pulls a perfect student away",
            mend="Choose another divergence=..., or mend the one that you wrote",
        )
    else:
        yield ok(f"the student as its own teacher: loss {loss:.1g}, gradient {norm:.1g}")
    if abs(pair) <= NOTHING:
        yield fatal(
            f"teacher and student already agree: the loss between them is {pair:.1g}",
            why="there is nothing to learn",
            mend="Choose another teacher.name=... or student.name=...",
        )
    else:
        yield ok(f"the real pair: loss {pair:.3g} nats a token, gradient {pair_norm:.3g}")


def teacher_signal(subject: Subject) -> Iterator[Finding]:
    """The teacher likes the right text better than chance, a shuffle and the student do."""
    compared = subject.run.objective.needs_teacher()
    if not compared and not subject.authors & {Author.teacher, Author.mixture}:
        yield ok("nothing is learned from the teacher in this run, it is measured only")
        return
    scored = subject.probe.scored
    teacher = _nlls(subject.teacher, scored.teacher)
    shuffled = _nlls(subject.teacher, scored.teacher, rolled=True)
    student = _nlls(subject.student, scored.student)
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
    """The objective's value must depend on what the teacher says where."""
    objective = subject.run.objective.comparison()
    if not isinstance(objective, DivergenceObjective):
        return
    scored = subject.probe.scored
    values = {
        control: _loss_and_norm(
            replace(objective, control=control), scored, subject.student, subject.teacher
        )[0]
        for control in (Control.none, Control.shuffled_teacher)
    }
    said = values[Control.none], values[Control.shuffled_teacher]
    if math.isclose(*said, rel_tol=1e-5, abs_tol=NOTHING):
        yield fatal(
            f"the loss is {said[0]:.4g} with the teacher and with a shuffled one alike",
            why="the teacher's opinion does not reach the loss",
            mend="Check teacher.name and divergence=...",
        )
    else:
        yield ok(f"the loss hears the teacher: {said[0]:.3g}, shuffled {said[1]:.3g}")
    if objective.control is not Control.none:
        yield warning(
            f"objective.control={objective.control} breaks the teacher on purpose",
            why="the student will learn from noise",
            mend="Set objective.control=none",
        )


def _loss_and_norm(
    objective: Objective, scored: Scored, student: LanguageModel, teacher: LanguageModel
) -> tuple[float, float]:
    """Loss and gradient norm, without dropout; no gradient is left behind."""
    training = student.module.training
    student.module.eval()
    try:
        loss = objective.backward(scored, student=student, teacher=teacher)["loss"]
        grads = [p.grad for p in student.parameters() if p.grad is not None]
        norm = torch.stack([grad.norm(dtype=torch.float32) for grad in grads]).norm().item()
    finally:
        student.module.zero_grad(set_to_none=True)
        student.module.train(training)
    return loss, norm


def _nlls(model: LanguageModel, batch: Batch, *, rolled: bool = False) -> Tensor:
    """Negative log-likelihood of every target [N], in nats, fp32 on the CPU.

    Args:
        model: who judges.
        batch: the text as it reads it.
        rolled: judge each target from the hidden state of another position.
    """
    with evaluating(model):
        hidden = model.hidden(batch)
        if rolled:
            hidden = hidden.roll(len(hidden) // 2 or 1, dims=0)
        parts = [
            functional.cross_entropy(
                model.head.logits(hidden[start : start + POSITIONS]),
                batch.targets[start : start + POSITIONS],
                reduction="none",
            )
            for start in range(0, len(hidden), POSITIONS)
        ]
        return torch.cat(parts).cpu()
