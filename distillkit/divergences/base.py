"""What every divergence is, and the two pieces they are made of."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import log, log1p
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from distillkit.core.types import LogProbs, PerToken

FLOOR = -1e30
"""Stands for log 0: finite, so that 0 * log 0 is 0 and no gradient becomes NaN."""


@dataclass(kw_only=True, slots=True)
class Divergence(ABC):
    """Per-token, unreduced numbers. ``forward`` means KL(teacher || student)."""

    LINEAR: ClassVar = False
    """Whether the student's gradient is linear in the teacher's probabilities, so that an unbiased
    estimate of these gives one of that."""

    @abstractmethod
    def __call__(self, teacher: LogProbs, student: LogProbs) -> PerToken:
        """Compare two distributions at each position.

        Args:
            teacher: log-probabilities [N, V] from :func:`log_probs`.
            student: log-probabilities [N, V] over the same support.

        Returns:
            One number in nats for each position [N], zero where both agree.
        """

    def slope(self, teacher: LogProbs, student: LogProbs) -> tuple[PerToken, LogProbs]:
        """Values [N], and their derivative by each student log-probability on its own [N, V].

        Any multiple of the student's probabilities may be added to a row of the derivative: it
        vanishes on the way through the softmax. By autograd here; a divergence whose formula is
        short overrides it, because that takes half the time.
        """
        with torch.enable_grad():
            leaf = student.detach().requires_grad_()
            values = self(teacher, leaf)
            (slope,) = torch.autograd.grad(values.sum(), leaf)
        return values.detach(), slope


def log_probs(logits: Float[Tensor, "N V"], temperature: float = 1.0) -> LogProbs:
    """Log-softmax in at least fp32, floored so that masked entries (-inf) stay harmless.

    Args:
        logits: [N, V] in any floating type.
        temperature: divides the logits.

    Returns:
        [N, V] in fp32, or fp64 for fp64 logits.
    """
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return torch.log_softmax(wide / temperature, dim=-1).clamp_min(FLOOR)


def through_softmax(slope: LogProbs, student: LogProbs) -> LogProbs:
    """Derivative by the student's scaled logits [N, V] from that by its log-probs; overwrites both.

    Entries on the floor do not move, and the probabilities take their share of the whole slope.
    """
    slope = slope.mul_(student > FLOOR)
    return slope.addcmul_(student.exp_(), slope.sum(-1, keepdim=True), value=-1)


def kl(left: LogProbs, right: LogProbs) -> PerToken:
    """KL(left || right) at each position, in nats [N]."""
    return (left.exp() * (left - right)).sum(-1)


def over_mixture(left: LogProbs, right: LogProbs, *, weight: float) -> LogProbs:
    """log(left / (weight left + (1 - weight) right)) [N, V].

    Made of the difference alone: a mixture's own logarithm, near -12 in a large vocabulary, would
    round away the digits of a small gap. Stays finite where both probabilities underflow (below
    about e**-104).
    """
    if weight == 0:
        return left - right
    if weight == 1:
        return torch.zeros_like(left)
    odds = log1p(-weight) - log(weight)
    # Beyond the threshold softplus(x) is x, to the last digit of fp64.
    return -functional.softplus(right - left + odds, threshold=40) - log(weight)
