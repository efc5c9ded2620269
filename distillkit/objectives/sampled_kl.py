"""On-policy distillation from the log-probabilities of sampled tokens alone.

One number a token from the teacher is all it takes (Thinking Machines, 2025; Kimi K3's form for
many teachers). With ``gamma`` above 0 it has MiniLLM's long term, all of it sampled. The
difference of log-probabilities is an advantage and never back-propagated: as a loss, log student -
log teacher has the expected gradient 0, and k3 that of forward KL.
"""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from distillkit.core.bounds import ABOVE_ZERO, FROM_ZERO, SHARE, check_range
from distillkit.core.spec import spec
from distillkit.core.types import Author, Rollout
from distillkit.objectives.base import Credit, Objective
from distillkit.objectives.policy_gradient import backward_on_credit, check_clip, take_own_text
from distillkit.objectives.returns import drawn, log_ratios, returns


@spec("objective/sampled_kl")
class SampledKL(Objective):
    """Policy gradient of log teacher - log student at the tokens that were drawn."""

    POLICY_GRADIENT: ClassVar = True
    backward = backward_on_credit

    gamma: float = 0.0
    """Discount of later tokens' differences; 0 is reverse KL at each position, 1 of the whole."""
    clip: float | None = None
    """PPO's epsilon on the ratio to the sampler; null for no limit."""
    advantage_clip: float | None = None
    """Largest advantage of a token, up and down; null for no limit."""
    amplify: float = 0.0
    """How much more the first tokens count: IW-OPD's gamma (arXiv:2606.22600), there 0.5."""

    def __post_init__(self) -> None:
        Objective.__post_init__(self)
        check_clip(self.clip)
        check_range(self, "objective.", SHARE, "gamma")
        hint = "null turns it off."
        check_range(self, "objective.", ABOVE_ZERO, "advantage_clip", hint=hint)
        check_range(self, "objective.", FROM_ZERO, "amplify")

    def check_authors(self, authors: frozenset[Author]) -> None:
        take_own_text("sampled_kl", authors)

    def scores_text(self) -> bool:
        return True

    def credit(self, rollouts: Sequence[Rollout], weights: Sequence[float]) -> list[Credit]:
        responses = [rollout.response for rollout in rollouts]
        total = sum(len(response.tokens) for response in responses)
        earned = []
        for response, share in zip(responses, weights, strict=True):
            advantages = self._advantages(log_ratios(response))
            none = advantages.new_zeros(len(advantages))
            earned.append(Credit(share * advantages, none, drawn(response), total))
        return earned

    def _advantages(self, ratios: Tensor) -> Tensor:
        found = returns(ratios, self.gamma)
        if self.advantage_clip is not None:
            found = found.clamp(-self.advantage_clip, self.advantage_clip)
        if self.amplify:
            size = found.abs()
            before = (size.cumsum(0) - size) / size.sum().clamp_min(1e-8)
            found = found * (1 + self.amplify * (1 - before))
        return found
