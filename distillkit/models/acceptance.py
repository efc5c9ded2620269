"""The rule that makes speculative decoding lossless (arXiv:2211.17192, algorithm 1).

A proposal x that was drawn from q is accepted with probability min(1, p(x) / q(x)); where it is
not, the token is drawn from max(p - q, 0), normalised. Either way the token is one of p's.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from distillkit.models.sampling import Sampling, draw, filtered

Chances = Float[Tensor, "B T V"]
"""Probabilities of T tokens of each row, fp32."""

Rows = Int[Tensor, "B"]
"""One whole number for each row."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the target makes of a round of proposals.

    Attributes:
        accepted: how many of a row's proposals, the first ones, stand.
        token: what follows them, in the place of the first that does not or of the next one.
    """

    accepted: Rows
    token: Rows


def shaped(logits: Tensor, sampling: Sampling) -> Tensor:
    """The distribution [..., V] that tokens are drawn from; all on the likeliest when greedy."""
    if sampling.temperature == 0:
        return torch.zeros_like(logits).scatter_(-1, logits.argmax(-1, keepdim=True), 1)
    return filtered(logits.flatten(0, -2), sampling).softmax(-1).view(logits.shape)


def verify(
    target: Chances, draft: Chances, proposed: Tensor, count: Rows, uniform: Tensor
) -> Verdict:
    """Accept or replace each row's proposals.

    Args:
        target: p [B, k + 1, V] where the proposals stand, and behind the last.
        draft: q [B, k, V], which the proposals were drawn from.
        proposed: token ids [B, k].
        count: how many of them count in each row; the token behind those is the target's own.
        uniform: fp64 draws in [0, 1) [B, k + 1, 2]: whether a proposal is accepted, and which
            token comes instead.
    """
    rows, steps = torch.arange(len(count), device=count.device), proposed.shape[1]
    wanted, offered = (
        chances.gather(-1, proposed[..., None])[..., 0].double()
        for chances in (target[:, :steps], draft)
    )
    stands = uniform[:, :steps, 0] * offered < wanted
    stands &= torch.arange(steps, device=count.device) < count[:, None]
    accepted = stands.long().cumprod(1).sum(1)
    chances = target[rows, accepted]
    if steps:
        left = (chances - draft[rows, accepted.clamp_max(steps - 1)]).clamp_min(0)
        # Rounding may leave nothing where the two are alike.
        replaced = (accepted < count) & (left.sum(-1) > 0)
        chances = left.where(replaced[:, None], chances)
    return Verdict(accepted, draw(chances, uniform[rows, accepted, 1])[0])


def overlap(target: Chances, draft: Chances) -> Tensor:
    """The chance that a proposal is accepted, sum of min(p, q) [B, T]."""
    return torch.minimum(target, draft).sum(-1)
