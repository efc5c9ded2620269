"""Estimators of a divergence at single positions: from merged supports, and from drawn tokens.

The drawn ones estimate reverse KL, KL(student || teacher), from tokens of the student's own:
J. Schulman, "Approximating KL divergence" (2020).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from distillkit.core.types import LogProbs, PerToken
from distillkit.divergences.apart import Apart, Logs, together
from distillkit.divergences.base import Divergence, through_softmax
from distillkit.models.head import Head
from distillkit.models.products import project
from distillkit.supports.base import Support, merge
from distillkit.supports.full import Full


@dataclass(frozen=True, slots=True)
class EstimatorKind:
    """What is done with one drawn token, given log r = log teacher - log student there."""

    name: str
    """As in the literature."""
    value: Callable[[Tensor], Tensor]
    """log r to the estimate, in nats."""
    factor: Callable[[Tensor], Tensor]
    """log r to what multiplies the gradient of the token's log student."""


KINDS = (
    # By the score function: the value as a cost of the token drawn.
    EstimatorKind("k1", torch.neg, torch.neg),
    # Half the squared log ratio, back-propagated. Its gradient is the one above, token by token.
    EstimatorKind("k2", lambda log_r: log_r.square() / 2, torch.neg),
    # r - 1 - log r, back-propagated. Its expected gradient is that of forward KL.
    EstimatorKind("k3", lambda log_r: log_r.expm1() - log_r, lambda log_r: -log_r.expm1()),
)


def on_support(
    support: Support, divergence: Divergence, teacher: Logs, student: Apart, targets: Tensor
) -> tuple[PerToken, Tensor]:
    """The divergence on a support [n], and its gradient by the student's scaled logits [n, V]."""
    if isinstance(support, Full):
        values, slope = support.slope(divergence, teacher, student, targets)
    else:
        values, slope = support.slope(divergence, together(teacher), together(student), targets)
    return values, through_softmax(slope, student)


def outside(
    support: Support, teacher: LogProbs, student: LogProbs, targets: Tensor
) -> tuple[PerToken, PerToken]:
    """Mass of the teacher and of the student that the support puts into its bucket [n]."""
    ids = support.chosen(teacher, student, targets)
    ours, theirs = (merge(side, ids)[0][:, -1].exp() for side in (student, teacher))
    return theirs, ours


def expectation(
    kind: EstimatorKind, teacher: LogProbs, student: LogProbs
) -> tuple[PerToken, Tensor]:
    """Mean of an estimator over all tokens, and of its gradient by the student's scaled logits.

    Every token of the vocabulary is counted with its probability, so there is no noise. In fp64,
    because r may exceed what fp32 holds where the student's probability is tiny.

    Returns:
        Values [n] and gradient [n, V], in the type of ``student``.
    """
    log_r, q = _wide(teacher, student)
    value = torch.linalg.vecdot(q, kind.value(log_r))
    gradient = through_softmax(q.mul_(kind.factor(log_r)), student.to(torch.float64, copy=True))
    return value.to(student.dtype), gradient.to(student.dtype)


def second_moments(
    kind: EstimatorKind, teacher: LogProbs, student: LogProbs, squares: Tensor
) -> tuple[PerToken, PerToken]:
    """Mean squares of one token's value and of its gradient by the hidden states [n], in fp64.

    Every token is counted. Repeats would miss the tokens that make up most of k3's: r is large
    where the student's probability is small, and its square larger still.

    Args:
        kind: the estimator.
        teacher: log-probabilities [n, V].
        student: log-probabilities [n, V].
        squares: what :func:`squared_gradients` gives [n, V].
    """
    log_r, q = _wide(teacher, student)
    value = torch.linalg.vecdot(q, kind.value(log_r).square())
    q *= kind.factor(log_r).square_()
    return value, torch.linalg.vecdot(q, squares.double())


def _wide(teacher: LogProbs, student: LogProbs) -> tuple[Tensor, Tensor]:
    """log r and the student's probabilities [n, V] in fp64; what is never drawn counts nothing."""
    q = student.double().exp()
    return torch.where(q > 0, teacher.double() - student, 0.0), q


def draw(student: LogProbs, uniform: Tensor) -> Tensor:
    """Tokens of the student's distribution [n, R, M] from numbers in [0, 1) of the same shape.

    The numbers are given, not drawn here, so that a position draws the same tokens in a chunk of
    any size.
    """
    cumulative = student.double().exp().cumsum(-1)
    wanted = uniform.flatten(1) * cumulative[:, -1:]
    ids = torch.searchsorted(cumulative, wanted, right=True).clamp_max_(student.shape[-1] - 1)
    return ids.view(uniform.shape)


def centre(head: Head, logits: Tensor, student: LogProbs) -> Tensor:
    """Gradient of the hidden states [n, D] by the log-normaliser: what every draw subtracts."""
    return head.gradient_of_hidden(head.gradient_of_product(student.exp(), logits.clone()))


def squared_gradients(head: Head, logits: Tensor, rows: Tensor, *, middle: Tensor) -> Tensor:
    """Squared length of the gradient of the hidden states by each log student [n, V].

    Args:
        head: the student's, prepared.
        logits: the student's [n, V].
        rows: squared lengths of the head's rows [V].
        middle: what :func:`centre` gives [n, D].
    """
    bend = head.gradient_of_product(torch.ones_like(logits), logits.clone())
    # |bend row - middle|^2, multiplied out.
    squares = project(middle, head.weight).mul_(bend).mul_(-2)
    squares += bend.square_().mul_(rows)
    squares += middle.square().sum(-1, keepdim=True)
    return squares.clamp_min_(0)


def gradient_of_draws(
    head: Head, logits: Tensor, tokens: Tensor, factors: Tensor, *, middle: Tensor
) -> Tensor:
    """Gradient of the hidden states by sums of factor * log student over drawn tokens.

    Only the head's rows of these tokens are multiplied, not the whole vocabulary.

    Args:
        head: the student's, prepared.
        logits: the student's [n, V].
        tokens: ids [n, M].
        factors: C sums over them [n, C, M].
        middle: what :func:`centre` gives [n, D].

    Returns:
        [n, C, D], by log-probabilities at temperature 1.
    """
    there = logits.gather(-1, tokens)[:, None].expand_as(factors).clone()
    pulls = head.gradient_of_product(factors.clone(), there)
    rows = head.weight[tokens].to(logits.dtype)
    return torch.bmm(pulls, rows) - factors.sum(-1, keepdim=True) * middle[:, None]
