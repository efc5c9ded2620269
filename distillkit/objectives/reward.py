"""A reward and a teacher at once: (1 - alpha) E[r] - alpha E[D] (GKD, arXiv:2306.13649, eq. 5).

The teacher takes the place of the starting model that reinforcement learning usually stays close
to. The reward's part is REINFORCE with a baseline over the responses to one prompt.
"""

from collections import defaultdict
from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar

import torch
from omegaconf import MISSING

from distillkit.core.bounds import SHARE, check_range
from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.core.types import Author, Rollout
from distillkit.datasets.base import Dataset
from distillkit.objectives.base import Credit
from distillkit.objectives.comparison import Comparison
from distillkit.objectives.divergence import Comparing
from distillkit.objectives.policy_gradient import backward_on_credit, check_clip
from distillkit.objectives.returns import drawn
from distillkit.rewards.base import Judge, Reward


class Baseline(StrEnum):
    """What is subtracted from a reward."""

    none = "none"
    leave_one_out = "leave_one_out"
    group = "group"


@spec("objective/reward")
class RewardObjective(Comparing):
    """Policy gradient of a reward, and a divergence from the teacher on the same text."""

    POLICY_GRADIENT: ClassVar = True
    backward = backward_on_credit

    reward: Reward = MISSING
    """What an answer is worth; set by the ``reward`` group."""
    alpha: float = 0.5
    """Share of the divergence: 1 is on-policy distillation, 0 the reward alone."""
    baseline: Baseline = Baseline.leave_one_out
    """``leave_one_out``: mean reward of the other responses to the prompt, which biases nothing;
    ``group``: of all of them, which makes the step (n - 1) / n as long; ``none``. The fewer the
    responses and the nearer the mean reward to 0, the less a baseline helps; two may do harm."""
    clip: float | None = None
    """PPO's epsilon on the ratio to the sampler; null for no limit."""

    def __post_init__(self) -> None:
        Comparing.__post_init__(self)
        check_clip(self.clip)
        hint = "1 is the teacher alone, 0 the reward alone."
        check_range(self, "objective.", SHARE, "alpha", hint=hint)
        if self.alpha < 1 and self.student_temperature != 1:
            raise ConfigError(
                f"objective.student_temperature={self.student_temperature} would change the "
                "policy that earns the reward. Set it to 1."
            )

    def check_group(self, size: int) -> None:
        if size < 2 and self.alpha < 1 and self.baseline is not Baseline.none:
            raise ConfigError(
                f"objective.baseline={self.baseline} compares responses to one prompt, and "
                f"loop.group={size} has one written. Set loop.group=4, or objective.baseline=none."
            )

    def check_authors(self, authors: frozenset[Author]) -> None:
        if authors != {Author.student}:
            raise ConfigError(
                "objective=reward learns from what its own text earns. Use policy=on_policy."
            )

    def comparison(self) -> Comparison | None:
        return self.compared() if self.alpha else None

    def scores_text(self) -> bool:
        # Nothing is learnt from it: it shows whether the reward is earned by what no teacher says.
        return 0 < self.alpha < 1

    def judge(self, dataset: Dataset, *, device: torch.device) -> Judge | None:
        return self.reward.judge(dataset, device=device) if self.alpha < 1 else None

    def credit(self, rollouts: Sequence[Rollout], weights: Sequence[float]) -> list[Credit]:
        total = sum(len(rollout.response.tokens) for rollout in rollouts)
        earned = []
        for rollout, gain, share in zip(rollouts, self._gains(rollouts), weights, strict=True):
            log_probs = drawn(rollout.response)
            # A reward is one response's, so its mean is over responses, whatever the reduction.
            each = (1 - self.alpha) * gain / len(rollouts)
            earned.append(
                Credit(
                    advantages=torch.full_like(log_probs, each),
                    exact=torch.full_like(log_probs, self.alpha * share),
                    drawn=log_probs,
                    total=total,
                )
            )
        return earned

    def _gains(self, rollouts: Sequence[Rollout]) -> list[float]:
        """Each response's reward less its baseline."""
        rewards = [rollout.reward for rollout in rollouts]
        if self.alpha == 1:
            return [0.0] * len(rollouts)
        groups = defaultdict[str, list[float]](list)
        for rollout, reward in zip(rollouts, rewards, strict=True):
            assert reward is not None
            groups[rollout.example.id].append(reward)
        found = []
        for rollout, reward in zip(rollouts, rewards, strict=True):
            assert reward is not None
            found.append(reward - self._baseline(groups[rollout.example.id], reward))
        return found

    def _baseline(self, group: Sequence[float], own: float) -> float:
        match self.baseline:
            case Baseline.none:
                return 0.0
            case Baseline.group:
                return sum(group) / len(group)
            case Baseline.leave_one_out:
                return (sum(group) - own) / (len(group) - 1)
