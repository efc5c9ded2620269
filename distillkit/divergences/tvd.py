"""Total variation distance (the f-distill row of GKD, arXiv:2306.13649)."""

from typing import ClassVar

from distillkit.core.spec import spec
from distillkit.core.types import LogProbs, PerToken
from distillkit.divergences.apart import Logs
from distillkit.divergences.base import Divergence


@spec("divergence/tvd")
class TotalVariation(Divergence):
    """Half the sum of absolute differences of probability, between 0 and 1."""

    APART: ClassVar = True

    def __call__(self, teacher: Logs, student: Logs) -> PerToken:
        return 0.5 * (teacher.exp() - student.exp()).abs().sum(-1)

    def slope(self, teacher: Logs, student: Logs) -> tuple[PerToken, LogProbs]:
        q = student.exp()
        gap = q - teacher.exp()
        return 0.5 * gap.abs().sum(-1), 0.5 * gap.sign() * q
