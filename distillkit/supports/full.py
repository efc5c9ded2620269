"""All real ids."""

import torch
from torch import Tensor

from distillkit.core.spec import spec
from distillkit.core.types import Ids, LogProbs, PerToken, Targets
from distillkit.divergences.apart import Apart, Logs, together
from distillkit.divergences.base import Divergence
from distillkit.supports.base import Support


@spec("support/full")
class Full(Support):
    """Nothing is merged: the divergence itself."""

    def chosen(self, teacher: LogProbs, student: LogProbs, targets: Targets) -> Ids:
        return torch.arange(student.shape[-1], device=student.device).expand(student.shape)

    @property
    def dense(self) -> bool:
        return True

    def slope(
        self,
        divergence: Divergence,
        teacher: object,
        student: Logs,
        targets: Targets,
    ) -> tuple[PerToken, LogProbs]:
        assert isinstance(teacher, Tensor | Apart), "refused when composing"
        if divergence.APART:
            return divergence.slope(teacher, student)
        return divergence.slope(together(teacher), together(student))
