"""What is compared at every position: two distributions, on a support, by a divergence."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from torch import Tensor

from distillkit.core.errors import ConfigError
from distillkit.core.spec import name_of
from distillkit.core.types import LogProbs, PerToken, Targets
from distillkit.divergences.apart import Apart, log_probs, together
from distillkit.divergences.base import Divergence
from distillkit.opinions.base import Heard, Opinion
from distillkit.supports.aligned import Pushed
from distillkit.supports.base import Support
from distillkit.supports.full import Full
from distillkit.supports.sampled import Sampled
from distillkit.supports.shared_ids import Shared
from distillkit.supports.top_k import ANY


class Control(StrEnum):
    """Deliberately broken variants that a real signal must beat."""

    none = "none"
    shuffled_teacher = "shuffled_teacher"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The exact comparison of an objective; :class:`Comparing` has what each field means."""

    divergence: Divergence
    support: Support
    teacher_temperature: float = 1.0
    student_temperature: float = 1.0
    control: Control = Control.none
    teacher_noise: float = 0.0

    def heard(self, opinion: Opinion) -> Opinion:
        """The opinion that the student is held against."""
        return opinion if self.control is Control.none else opinion.rolled()

    def slope(
        self, heard: Heard | Pushed, student: Apart, targets: Targets
    ) -> tuple[PerToken, LogProbs]:
        """Values [n], and their derivative by the student's log-probs [n, V]."""
        teacher: object = heard
        if isinstance(self.support, Full) and isinstance(heard, Tensor):
            apart = Apart.of(heard, self.teacher_temperature)
            return self.support.slope(self.divergence, apart, student, targets)
        if isinstance(heard, Tensor):
            teacher = log_probs(heard, self.teacher_temperature)
        elif isinstance(heard, Shared):
            teacher = heard._replace(values=log_probs(heard.values, self.teacher_temperature))
        return self.support.slope(self.divergence, teacher, together(student), targets)

    def check_told(self, told: Sequence[Support], teacher: str) -> None:
        """Refuse a teacher that tells less than is compared.

        Args:
            told: the densest supports of its opinions.
            teacher: its name as typed.

        Raises:
            ConfigError: the support, the temperature or the control needs more.
        """
        fitting = [each for each in told if self.support.within(each)]
        if not fitting:
            most = " or ".join(map(said, told))
            raise ConfigError(
                f"support={said(self.support)} compares more entries than teacher={teacher} "
                f"tells, which is {most}. Set support={most}."
            )
        if any(each.dense for each in fitting):
            return
        if self.control is not Control.none and isinstance(self.support, Sampled):
            raise ConfigError(
                f"objective.control={self.control} gives each position the opinion of another one, "
                f"and teacher={teacher} tells of the drawn token alone. Set it to none."
            )
        if self.teacher_noise:
            raise ConfigError(
                f"objective.teacher_noise={self.teacher_noise} is added to logits, and "
                f"teacher={teacher} tells probabilities of a few entries. Set it to 0."
            )
        if self.teacher_temperature != 1:
            raise ConfigError(
                f"objective.teacher_temperature={self.teacher_temperature} divides logits, and "
                f"teacher={teacher} tells probabilities of a few entries. Set it to 1."
            )


def said(support: Support) -> str:
    """As it is typed."""
    size = getattr(support, "k", None)
    return name_of(support) + ("" if size is None or size >= ANY else f" support.k={size}")
