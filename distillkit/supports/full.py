"""All real ids."""

import torch
from torch import Tensor

from distillkit.core.spec import spec
from distillkit.core.types import LogProbs, PerToken
from distillkit.divergences.base import Divergence
from distillkit.supports.base import Support


@spec("support/full")
class Full(Support):
    """Nothing is merged: the divergence itself."""

    def chosen(self, teacher: LogProbs, student: LogProbs, targets: Tensor) -> Tensor:
        return torch.arange(student.shape[-1], device=student.device).expand(student.shape)

    def slope(
        self, divergence: Divergence, teacher: LogProbs, student: LogProbs, targets: Tensor
    ) -> tuple[PerToken, LogProbs]:
        return divergence.slope(teacher, student)
