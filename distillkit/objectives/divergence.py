"""Distillation by a divergence at every response position (GKD and its special cases)."""

from enum import StrEnum

import torch
from omegaconf import MISSING
from torch import Tensor

from distillkit.core.clock import Clock
from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.divergences.base import Divergence, log_probs, through_softmax
from distillkit.objectives.base import Objective, Scored, Scorer
from distillkit.objectives.chunked import backward_in_chunks, blocks, fused, rows_within
from distillkit.supports.base import Support


class Control(StrEnum):
    """Deliberately broken variants that a real signal must beat."""

    none = "none"
    shuffled_teacher = "shuffled_teacher"


@spec("objective/divergence")
class DivergenceObjective(Objective):
    """Weighted sum of a divergence over the packed positions, on whoever's text it is."""

    divergence: Divergence = MISSING
    """Which divergence; set by the ``divergence`` group."""
    support: Support = MISSING
    """On which entries the two are compared; set by the ``support`` group."""
    teacher_temperature: float = 1.0
    """Divides the teacher's logits."""
    student_temperature: float = 1.0
    """Divides the student's logits. No T squared factor is applied."""
    control: Control = Control.none
    """``shuffled_teacher`` gives each position the teacher's opinion of another one."""

    def __post_init__(self) -> None:
        Objective.__post_init__(self)  # slots take the class that a bare super() would need
        for side in ("teacher", "student"):
            temperature = getattr(self, f"{side}_temperature")
            if not temperature > 0:
                raise ConfigError(
                    f"objective.{side}_temperature must be above 0, got {temperature}. "
                    "1 leaves the distribution as it is."
                )

    def backward(
        self,
        batch: Scored,
        *,
        student: Scorer,
        teacher: Scorer | None,
        clock: Clock | None = None,
    ) -> float:
        clock = clock or Clock()
        assert teacher is not None
        rows = rows_within(self.chunk_mb, student.head.vocabulary)
        with torch.no_grad(), clock("teacher"):
            teacher_hidden = self.opinions(batch, teacher)
            theirs = teacher.head.prepared()
            room = theirs.room(min(rows, len(teacher_hidden)))
        compare = fused(_compare, teacher_hidden.device)
        targets, weights = batch.student.targets, batch.weights

        def loss_of(given: Tensor, part: slice) -> tuple[Tensor, Tensor]:
            wanted = theirs.logits(teacher_hidden[part], into=room)
            total = weights.new_zeros(())
            for block in blocks(given):
                loss, gradient = compare(
                    self, wanted[block], given[block], targets[part][block], weights[part][block]
                )
                wanted[block] = gradient  # the teacher's logits have been used: no third buffer
                total += loss
            return total, wanted

        with clock("student"):
            hidden = student.hidden(batch.student)
        return backward_in_chunks(hidden, student.head, loss_of, rows=rows, clock=clock)

    def opinions(self, batch: Scored, teacher: Scorer) -> Tensor:
        """The teacher's hidden states [N, D] that the student's are compared with."""
        hidden = teacher.hidden(batch.teacher)
        if self.control is Control.shuffled_teacher:
            hidden = hidden.roll(len(hidden) // 2 or 1, dims=0)
        return hidden


def _compare(
    objective: DivergenceObjective, wanted: Tensor, given: Tensor, targets: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Weighted sum of the divergence, and its gradient by the student's logits ``given`` [n, V]."""
    teacher = log_probs(wanted, objective.teacher_temperature)
    student = log_probs(given, objective.student_temperature)
    values, slope = objective.support.slope(objective.divergence, teacher, student, targets)
    gradient = through_softmax(slope, student)
    gradient *= (weights / objective.student_temperature)[:, None]
    return (values * weights).sum(), gradient
