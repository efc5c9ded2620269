"""What every divergence is, and the two pieces they are made of."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import log, log1p
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from distillkit.core.types import LogProbs, PerToken
from distillkit.divergences.apart import FLOOR, Apart, Logs


@dataclass(kw_only=True, slots=True)
class Divergence(ABC):
    """Per-token, unreduced numbers. ``forward`` means KL(teacher || student)."""

    LINEAR: ClassVar = False
    """Whether the student's gradient is linear in the teacher's probabilities, so that an unbiased
    estimate of these gives one of that."""

    APART: ClassVar = False
    """Whether :meth:`slope` asks for differences and exponentials of its arguments alone, so that
    it may be given :class:`Apart` and is more exact. Others are given tensors."""

    @abstractmethod
    def __call__(self, teacher: LogProbs, student: LogProbs) -> PerToken:
        """Compare two distributions at each position.

        Args:
            teacher: log-probabilities [N, V] from :func:`log_probs`.
            student: log-probabilities [N, V] over the same support.

        Returns:
            One number in nats for each position [N], zero where both agree.
        """

    def slope(self, teacher: Logs, student: Logs) -> tuple[PerToken, LogProbs]:
        """Values [N], and their derivative by each student log-probability on its own [N, V].

        Any multiple of the student's probabilities may be added to a row of the derivative: it
        vanishes on the way through the softmax. By autograd here; a divergence whose formula is
        short overrides it, because that takes half the time.
        """
        assert isinstance(teacher, Tensor)
        assert isinstance(student, Tensor)
        with torch.enable_grad():
            leaf = student.detach().requires_grad_()
            values = self(teacher, leaf)
            (slope,) = torch.autograd.grad(values.sum(), leaf)
        return values.detach(), slope


def through_softmax(slope: LogProbs, student: Logs) -> LogProbs:
    """Derivative by the student's scaled logits [N, V] from that by its log-probs.

    Overwrites log-probabilities that are one tensor. Entries on the floor do not move, and the
    probabilities take their share of the whole slope.
    """
    # One pass where a comparison and a product with what it finds are two.
    keep = torch.ops.aten.threshold_backward
    if isinstance(student, Apart):
        slope, probabilities = keep(slope, student.logits, FLOOR), student.probabilities
    else:
        slope = keep(slope, student, FLOOR)
        probabilities = student.exp_()
    return slope.addcmul_(probabilities, slope.sum(-1, keepdim=True), value=-1)


def kl(left: Logs, right: Logs) -> PerToken:
    """KL(left || right) at each position, in nats [N]."""
    return (left - right).mul_(left.exp()).sum(-1)


def over_mixture(left: Logs, right: Logs, *, weight: float) -> LogProbs:
    """log(left / (weight left + (1 - weight) right)) [N, V].

    Made of the difference alone: a mixture's own logarithm, near -12 in a large vocabulary, would
    round away the digits of a small gap. Stays finite where both probabilities underflow (below
    about e**-104).
    """
    if weight == 0:
        return left - right
    if weight == 1:
        return torch.zeros_like(left.exp())
    odds = log1p(-weight) - log(weight)
    # In place where that costs no digit: memory that is not in the cache yet takes ten times as
    # long. Beyond the threshold softplus(x) is x, to the last digit of fp64.
    smooth = functional.softplus((right - left).add_(odds), threshold=40)
    return smooth.neg_().sub_(log(weight))
