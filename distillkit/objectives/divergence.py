"""Distillation by a divergence at every response position (GKD and its special cases)."""

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from distillkit.core.bounds import ABOVE_ZERO, FROM_ZERO, check_range
from distillkit.core.clock import Clock
from distillkit.core.errors import ConfigError
from distillkit.core.spec import name_of, spec
from distillkit.divergences.base import Divergence
from distillkit.models.likelihood import Scorer
from distillkit.objectives.base import Objective, Scored
from distillkit.objectives.comparison import Comparison, Control
from distillkit.objectives.scoring import compare
from distillkit.supports.base import Support


@dataclass(kw_only=True, slots=True)
class Comparing(Objective):
    """Settings of objectives that compare with the teacher at every position."""

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
    teacher_noise: float = 0.0
    """Standard deviation of normal noise that every update adds anew to each of the teacher's
    logits, before the temperature. Training alone has it: doctor and estimate look at the teacher
    as it is."""

    def __post_init__(self) -> None:
        Objective.__post_init__(self)  # slots take the class that a bare super() would need
        both, hint = ("teacher_temperature", "student_temperature"), "1 leaves it as it is."
        check_range(self, "objective.", ABOVE_ZERO, *both, hint=hint)
        check_range(self, "objective.", FROM_ZERO, "teacher_noise", hint="0 adds none.")
        # What is not chosen yet is a text of question marks.
        chosen = isinstance(self.support, Support)
        if chosen and self.support.UNBIASED and not self.divergence.LINEAR:
            raise ConfigError(
                f"divergence={name_of(self.divergence)} is not linear in the teacher, so what "
                f"support={name_of(self.support)} estimates without a bias would give it one. Use "
                "divergence=forward_kl, or a cache of teacher_top_k."
            )

    def earlier(self, values: dict[str, Any]) -> dict[str, Any]:
        """Its values as runs of earlier versions had them, so that they are known again."""
        if self.teacher_noise:
            return values
        return {name: value for name, value in values.items() if name != "teacher_noise"}

    def compared(self) -> Comparison:
        """These settings as what is done with them."""
        return Comparison(
            divergence=self.divergence,
            support=self.support,
            teacher_temperature=self.teacher_temperature,
            student_temperature=self.student_temperature,
            control=self.control,
            teacher_noise=self.teacher_noise,
        )

    def comparison(self) -> Comparison | None:
        return self.compared()


@spec("objective/divergence")
class DivergenceObjective(Comparing):
    """Weighted sum of a divergence over the packed positions, on whoever's text it is."""

    def backward(
        self, batch: Scored, *, student: Scorer, clock: Clock | None = None
    ) -> dict[str, float]:
        sums = compare(
            self.compared(),
            batch,
            batch.weights,
            student=student,
            chunk_mb=self.chunk_mb,
            clock=clock or Clock(),
        )
        return {"loss": sums.exact}
