"""Entries that are drawn from the teacher: right in expectation, whatever is left out.

Random sampling of a teacher's distribution (arXiv:2503.16870), and its stratified variant: the
likeliest entries exactly, and draws from the tail. Where a truncated distribution is wrong in every
update in the same direction, a drawn one is wrong in another each time.
"""

from typing import ClassVar

import torch
from torch import Tensor

from distillkit.core.bounds import FROM_ZERO, POSITIVE, check_range
from distillkit.core.spec import spec
from distillkit.core.types import Ids, LogProbs, PerToken, Targets
from distillkit.divergences.apart import FLOOR
from distillkit.divergences.base import Divergence
from distillkit.supports.base import Drawn, Sparse, Support, Told


@spec("support/draws")
class Draws(Support):
    """The k likeliest entries, and draws from all others that carry their mass.

    Told by a cached teacher alone. Only the student's gradient by forward KL is linear in the
    teacher, so nothing else may be learned from it.
    """

    UNBIASED: ClassVar = True

    k: int = 16
    """Likeliest entries that are kept exactly; 0 draws all, which is the paper's method."""
    draws: int = 8
    """Entries drawn from the others, each with an equal part of their mass."""
    stratified: bool = True
    """Draw one from each of ``draws`` equal parts of the mass, instead of each from all of it."""

    def __post_init__(self) -> None:
        check_range(self, "support.", FROM_ZERO, "k")
        check_range(self, "support.", POSITIVE, "draws", hint="For none use teacher_top_k.")

    def chosen(self, teacher: LogProbs, student: LogProbs, targets: Targets) -> Ids:
        return teacher.topk(min(self.k, teacher.shape[-1]), dim=-1).indices

    def within(self, told: Support) -> bool:
        return self == told

    def told(
        self, teacher: LogProbs, targets: Targets, generator: torch.Generator | None = None
    ) -> Drawn:
        first = self.chosen(teacher, teacher, targets)
        wide = teacher.double()
        entropy = -(wide.exp() * wide).sum(-1)
        tail = wide.scatter(-1, first, FLOOR).exp()
        rest = tail.sum(-1, keepdim=True)
        reached = tail.cumsum(-1)
        shape = (len(teacher), self.draws)
        uniform = torch.rand(shape, generator=generator, dtype=torch.float64).to(teacher.device)
        if self.stratified:
            uniform = (uniform + torch.arange(self.draws, device=teacher.device)) / self.draws
        drawn = torch.searchsorted(reached, uniform * reached[:, -1:], right=True)
        drawn.clamp_(max=teacher.shape[-1] - 1)
        each = (rest / self.draws).log().clamp_min(FLOOR).expand(shape)
        weights = torch.cat([wide.gather(-1, first), each], dim=-1)
        return Drawn(torch.cat([first, drawn], dim=-1), weights.float(), entropy.float())

    def among(self, told: Told) -> Sparse:
        raise NotImplementedError

    def slope(
        self,
        divergence: Divergence,
        teacher: object,
        student: LogProbs,
        targets: Targets,
    ) -> tuple[PerToken, LogProbs]:
        assert isinstance(teacher, Drawn), "refused when composing"
        assert divergence.LINEAR, "refused when composing"
        weights = teacher.log_weights.exp().to(student.dtype)
        crossed: Tensor = (weights * student.gather(-1, teacher.ids)).sum(-1)
        values = -teacher.entropy.to(student.dtype) - crossed
        return values, torch.zeros_like(student).scatter_add_(-1, teacher.ids, -weights)
