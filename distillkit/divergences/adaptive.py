"""Adaptive KL (AKL, arXiv:2404.02657): forward where the head disagrees, reverse for the tail."""

from typing import ClassVar

import torch
from torch import Tensor

from distillkit.core.bounds import INSIDE, check_range
from distillkit.core.spec import spec
from distillkit.core.types import LogProbs, PerToken
from distillkit.divergences.apart import Logs
from distillkit.divergences.base import Divergence, kl
from distillkit.divergences.kl import ForwardKL, ReverseKL


@spec("divergence/adaptive")
class AdaptiveKL(Divergence):
    """g_head / (g_head + g_tail) forward KL + g_tail / (g_head + g_tail) reverse KL.

    The gaps are sums of |teacher - student| over the teacher's head (its likeliest entries that
    together hold ``head_mass`` or less, and always the likeliest one) and over the rest. They
    weigh, and take no gradient. This is no f-divergence: merging entries may raise it.
    """

    APART: ClassVar = True

    head_mass: float = 0.5
    """Most teacher probability that the head may hold, strictly between 0 and 1."""

    def __post_init__(self) -> None:
        hint = "The paper's value is 0.5."
        check_range(self, "divergence.", INSIDE, "head_mass", hint=hint)

    def __call__(self, teacher: Logs, student: Logs) -> PerToken:
        with torch.no_grad():
            head_share = self._head_share(teacher, student)
        return head_share * kl(teacher, student) + (1 - head_share) * kl(student, teacher)

    def slope(self, teacher: Logs, student: Logs) -> tuple[PerToken, LogProbs]:
        head_share = self._head_share(teacher, student)
        forward, forward_slope = ForwardKL().slope(teacher, student)
        reverse, reverse_slope = ReverseKL().slope(teacher, student)
        values = head_share * forward + (1 - head_share) * reverse
        return values, torch.lerp(reverse_slope, forward_slope, head_share[:, None])

    def _head_share(self, teacher: Logs, student: Logs) -> PerToken:
        p = teacher.exp()
        # Compared by value, not by rank: entries that tie (bf16 teachers have many) fall on the
        # same side whatever their order. The likeliest is always head, so that none is empty.
        least = torch.minimum(_least_of_head(p, self.head_mass), p.amax(-1, keepdim=True))
        gap = (p - student.exp()).abs_()
        total = gap.sum(-1)
        head = (gap * (p >= least)).sum(-1)
        return torch.where(total > 0, head / total.clamp_min(1e-30), torch.full_like(total, 0.5))


def _least_of_head(p: Tensor, mass: float) -> Tensor:
    """Least value [N, 1] at or above which the entries of a row [N, V] hold ``mass`` or less.

    Bisects the bit patterns of the floats, which are ordered as the floats are. Sorting a
    vocabulary costs several times as much.
    """
    bits = torch.int64 if p.dtype == torch.float64 else torch.int32
    below = torch.zeros_like(p[:, :1]).view(bits)
    above = torch.ones_like(p[:, :1]).view(bits) + 1
    at_or_above = torch.empty_like(p)
    for _ in range(62 if bits is torch.int64 else 30):
        middle = below + (above - below) // 2
        torch.ge(p, middle.view(p.dtype), out=at_or_above)
        fits = torch.linalg.vecdot(p, at_or_above)[:, None] <= mass
        above, below = torch.where(fits, middle, above), torch.where(fits, below, middle)
    return above.view(p.dtype)
