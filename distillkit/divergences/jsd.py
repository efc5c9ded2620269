"""Generalised Jensen-Shannon divergence (GKD, arXiv:2306.13649, eq. 1)."""

from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.core.types import LogProbs, PerToken
from distillkit.divergences.base import Divergence, kl, mixture


@spec("divergence/jsd")
class JensenShannon(Divergence):
    """beta KL(teacher || M) + (1 - beta) KL(student || M), M = beta teacher + (1 - beta) student.

    Small beta points like forward KL, large beta like reverse KL. The raw value and gradient
    vanish at both ends, so beta is a step size too unless ``normalize`` divides that out.
    """

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

    def __call__(self, teacher: LogProbs, student: LogProbs) -> PerToken:
        middle = mixture(teacher, student, weight=self.beta)
        value = self.beta * kl(teacher, middle) + (1 - self.beta) * kl(student, middle)
        return value / (self.beta * (1 - self.beta)) if self.normalize else value

    def slope(self, teacher: LogProbs, student: LogProbs) -> tuple[PerToken, LogProbs]:
        middle = mixture(teacher, student, weight=self.beta)
        terms = (1 - self.beta) * student.exp() * (student - middle)
        values = self.beta * kl(teacher, middle) + terms.sum(-1)
        scale = 1 / (self.beta * (1 - self.beta)) if self.normalize else 1.0
        return scale * values, scale * terms
