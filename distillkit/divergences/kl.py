"""The two Kullback-Leibler divergences."""

from typing import ClassVar

from distillkit.core.spec import spec
from distillkit.core.types import LogProbs, PerToken
from distillkit.divergences.apart import Logs
from distillkit.divergences.base import Divergence, kl


@spec("divergence/forward_kl")
class ForwardKL(Divergence):
    """KL(teacher || student): the student must cover all that the teacher might say."""

    APART: ClassVar = True
    LINEAR: ClassVar = True

    def __call__(self, teacher: Logs, student: Logs) -> PerToken:
        return kl(teacher, student)

    def slope(self, teacher: Logs, student: Logs) -> tuple[PerToken, LogProbs]:
        p = teacher.exp()
        return (teacher - student).mul_(p).sum(-1), -p


@spec("divergence/reverse_kl")
class ReverseKL(Divergence):
    """KL(student || teacher): the student must not say what the teacher would not."""

    APART: ClassVar = True

    def __call__(self, teacher: Logs, student: Logs) -> PerToken:
        return kl(student, teacher)

    def slope(self, teacher: Logs, student: Logs) -> tuple[PerToken, LogProbs]:
        terms = (student - teacher).mul_(student.exp())
        return terms.sum(-1), terms
