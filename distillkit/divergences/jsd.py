"""Generalised Jensen-Shannon divergence (GKD, arXiv:2306.13649, eq. 1)."""

from typing import ClassVar

from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.core.types import LogProbs, PerToken
from distillkit.divergences.apart import Logs
from distillkit.divergences.base import Divergence, over_mixture


@spec("divergence/jsd")
class JensenShannon(Divergence):
    """beta KL(teacher || M) + (1 - beta) KL(student || M), M = beta teacher + (1 - beta) student.

    Small beta points like forward KL, large beta like reverse KL. The raw value and gradient
    vanish at both ends, so beta is a step size too unless ``normalize`` divides that out.
    """

    APART: ClassVar = True

    beta: float = 0.5
    """Weight of the teacher in the mixture, strictly between 0 and 1."""
    normalize: bool = False
    """Divide by beta (1 - beta): runs from forward KL to reverse KL without vanishing."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < 1:
            raise ConfigError(
                f"beta (divergence.beta) must lie strictly between 0 and 1, got {self.beta}. "
                "For the endpoints use divergence=forward_kl or divergence=reverse_kl."
            )

    def __call__(self, teacher: Logs, student: Logs) -> PerToken:
        return self.slope(teacher, student)[0]

    def slope(self, teacher: Logs, student: Logs) -> tuple[PerToken, LogProbs]:
        left = over_mixture(teacher, student, weight=self.beta).mul_(teacher.exp())
        terms = over_mixture(student, teacher, weight=1 - self.beta).mul_(student.exp())
        terms *= 1 - self.beta
        values = self.beta * left.sum(-1) + terms.sum(-1)
        if not self.normalize:
            return values, terms
        scale = 1 / (self.beta * (1 - self.beta))
        return scale * values, terms.mul_(scale)
