"""Skewed Kullback-Leibler divergences (DistiLLM, arXiv:2402.03898)."""

from math import log, log1p
from typing import ClassVar

from distillkit.core.bounds import BELOW_ONE, check_range
from distillkit.core.spec import spec
from distillkit.core.types import LogProbs, PerToken
from distillkit.divergences.apart import Logs
from distillkit.divergences.base import Divergence, over_mixture


@spec("divergence/skew_forward_kl")
class SkewForwardKL(Divergence):
    """KL(teacher || alpha teacher + (1 - alpha) student)."""

    APART: ClassVar = True

    alpha: float = 0.1
    """Weight of the teacher in the mixture, in [0, 1). Near 1 there is almost no gradient."""

    def __post_init__(self) -> None:
        check_range(self, "divergence.", BELOW_ONE, "alpha", hint="The usual value is 0.1.")

    def __call__(self, teacher: Logs, student: Logs) -> PerToken:
        return over_mixture(teacher, student, weight=self.alpha).mul_(teacher.exp()).sum(-1)

    def slope(self, teacher: Logs, student: Logs) -> tuple[PerToken, LogProbs]:
        # The student's share of the mixture, (1 - alpha) student / mixture, is at most 1.
        ratio = over_mixture(student, teacher, weight=1 - self.alpha)
        share = ratio.add_(log1p(-self.alpha)).exp_()
        return self(teacher, student), share.mul_(teacher.exp()).neg_()


@spec("divergence/skew_reverse_kl")
class SkewReverseKL(Divergence):
    """KL(student || (1 - alpha) teacher + alpha student)."""

    APART: ClassVar = True

    alpha: float = 0.1
    """Weight of the student in the mixture, in [0, 1). Near 1 there is almost no gradient."""

    def __post_init__(self) -> None:
        check_range(self, "divergence.", BELOW_ONE, "alpha", hint="The usual value is 0.1.")

    def __call__(self, teacher: Logs, student: Logs) -> PerToken:
        return over_mixture(student, teacher, weight=self.alpha).mul_(student.exp()).sum(-1)

    def slope(self, teacher: Logs, student: Logs) -> tuple[PerToken, LogProbs]:
        ratio, q = over_mixture(student, teacher, weight=self.alpha), student.exp()
        values = (q * ratio).sum(-1)
        if self.alpha > 0:
            # The student's share of the mixture, alpha student / mixture, is at most 1.
            ratio -= (ratio + log(self.alpha)).exp()
        return values, ratio.mul_(q)
