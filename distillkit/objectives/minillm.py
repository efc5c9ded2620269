"""MiniLLM: sequence-level reverse KL by policy gradient (arXiv:2306.08543; LMOps, ``minillm``).

The gradient of KL(student || teacher) over whole responses is that of the reverse KL at each
position, which is taken exactly, and a policy gradient of what comes later (eq. 3). Text is drawn
by ``policy=teacher_mixed``; its importance weights are each token's own (eq. 5).

The paper and its code differ, and ``variant`` says which of the two is meant. ``paper`` is eq. 7:
the return of a token is the mean reward of the tokens after it, and the importance weight is a
factor of both terms. (Given its prefix, that weight has the mean 1: on the exact term it is noise.)
``reference`` is what the authors' code computes: rewards are doubled and clipped, a token's own
reward counts in its return too, gamma is 0.95, advantages are whitened over the batch, the exact
term is not weighted, and half of the loss on pre-training text is forward KL. One slip of the code
is not repeated: it whitens over padding, whose zeros bias mean and spread.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar

from torch import Tensor

from distillkit.core.bounds import ABOVE_ZERO, FROM_ZERO, SHARE, check_range
from distillkit.core.spec import spec
from distillkit.core.types import Author, Rollout
from distillkit.divergences.kl import ForwardKL, ReverseKL
from distillkit.objectives.base import Beside, Credit, Objective
from distillkit.objectives.comparison import Comparison
from distillkit.objectives.kd import KD
from distillkit.objectives.policy_gradient import backward_on_credit, check_clip, take_own_text
from distillkit.objectives.returns import (
    drawn,
    importance,
    later_returns,
    log_ratios,
    remaining,
    returns,
    whiten,
)
from distillkit.objectives.sft import SFT
from distillkit.supports.full import Full


class Variant(StrEnum):
    """Whose MiniLLM."""

    paper = "paper"
    reference = "reference"


@spec("objective/minillm")
class MiniLLM(Objective):
    """Exact reverse KL at each position, policy gradient for the positions after it."""

    POLICY_GRADIENT: ClassVar = True
    backward = backward_on_credit

    variant: Variant = Variant.paper
    """``paper`` (eq. 7) or ``reference`` (the authors' code); fields below follow it by default."""
    single_step: bool = True
    """Take a token's own term exactly over the vocabulary; else it is sampled too (eq. 2)."""
    length_normalisation: bool = True
    """Divide a return by the number of its tokens, so that short answers are not favoured."""
    gamma: float = 1.0
    """Discount of later rewards; 0 leaves the paper's variant with the exact term alone."""
    whiten: bool = False
    """Give advantages the mean 0 and the variance 1 over the batch."""
    weigh_single_step: bool = True
    """Multiply the exact term with the importance weight too."""
    reward_scale: float = 1.0
    """Factor of log teacher - log student."""
    reward_clip: float | None = None
    """Largest reward of a token, up and down; null for no limit."""
    clip: float | None = 0.2
    """PPO's epsilon, on the ratio times the importance weight; null for no limit."""
    pretraining: float = 1.0
    """Weight of the loss on ``dataset_pt``, where there is one."""
    pretraining_kd: float = 0.0
    """Share of forward KL in that loss; the rest is language modelling."""

    def __post_init__(self) -> None:
        Objective.__post_init__(self)
        check_clip(self.clip)
        check_range(self, "objective.", SHARE, "gamma", "pretraining_kd")
        check_range(self, "objective.", ABOVE_ZERO, "reward_scale", "reward_clip")
        check_range(self, "objective.", FROM_ZERO, "pretraining")

    def check_authors(self, authors: frozenset[Author]) -> None:
        take_own_text("minillm", authors)

    def comparison(self) -> Comparison | None:
        return Comparison(divergence=ReverseKL(), support=Full()) if self.single_step else None

    def scores_text(self) -> bool:
        return True

    def beside(self) -> Beside | None:
        if self.pretraining == 0:
            return None
        if self.pretraining_kd == 0:
            return Beside(SFT(chunk_mb=self.chunk_mb), self.pretraining)
        mixed = KD(
            chunk_mb=self.chunk_mb,
            divergence=ForwardKL(),
            support=Full(),
            ratio=self.pretraining_kd,
        )
        return Beside(mixed, self.pretraining)

    def credit(self, rollouts: Sequence[Rollout], weights: Sequence[float]) -> list[Credit]:
        responses = [rollout.response for rollout in rollouts]
        advantages = [self._advantages(log_ratios(response)) for response in responses]
        if self.whiten:
            advantages = whiten(advantages)
        total = sum(map(len, advantages))
        earned = []
        for response, advantage, share in zip(responses, advantages, weights, strict=True):
            factor = importance(response) if self.weigh_single_step else advantage.new_ones(())
            earned.append(
                Credit(
                    advantages=share * advantage,
                    exact=(share * factor).expand(len(advantage)),
                    drawn=drawn(response),
                    total=total,
                )
            )
        return earned

    def _advantages(self, rewards: Tensor) -> Tensor:
        """Each token's return [T] from its log ratios [T]."""
        rewards = self.reward_scale * rewards
        if self.reward_clip is not None:
            rewards = rewards.clamp(-self.reward_clip, self.reward_clip)
        # Where the own term is exact, counting it here again is what the reference does.
        own = self.variant is Variant.reference or not self.single_step
        found = returns(rewards, self.gamma) if own else later_returns(rewards, self.gamma)
        if not self.length_normalisation:
            return found
        # The last token of the paper's variant has nothing after it: 0 over 1.
        count = remaining(len(rewards)) if own else (remaining(len(rewards)) - 1).clamp_min(1)
        return found / count
