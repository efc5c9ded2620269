"""Distillation by a divergence at every response position (GKD and its special cases)."""

from enum import StrEnum
from typing import Optional

from omegaconf import MISSING
from torch import Tensor

from distillkit.core.clock import Clock
from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.divergences.base import Divergence
from distillkit.objectives.base import Objective, Scored, Scorer
from distillkit.objectives.scoring import compare
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
    ) -> dict[str, float]:
        assert teacher is not None
        sums = compare(
            self,
            batch,
            batch.weights,
            student=student,
            teacher=teacher,
            chunk_mb=self.chunk_mb,
            clock=clock or Clock(),
        )
        return {"loss": sums.exact}

    def comparison(self) -> Optional["DivergenceObjective"]:
        return DivergenceObjective(
            chunk_mb=self.chunk_mb,
            divergence=self.divergence,
            support=self.support,
            teacher_temperature=self.teacher_temperature,
            student_temperature=self.student_temperature,
            control=self.control,
        )

    def opinions(self, batch: Scored, teacher: Scorer) -> Tensor:
        """The teacher's hidden states [N, D] that the student's are compared with."""
        hidden = teacher.hidden(batch.teacher) if batch.opinions is None else batch.opinions
        if self.control is Control.shuffled_teacher:
            hidden = hidden.roll(len(hidden) // 2 or 1, dims=0)
        return hidden
