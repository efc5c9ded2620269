"""What is done with the text's own tokens: they are pulled up, or pushed down.

A pull sees nothing of the vocabulary, only how likely the student finds each token.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from distillkit.core.types import PerToken


class Pull(ABC):
    """A loss of the log-likelihoods of the text's own tokens."""

    @abstractmethod
    def __call__(self, likelihood: PerToken, known: Tensor) -> tuple[Tensor, PerToken, Tensor]:
        """The loss and its slope.

        Args:
            likelihood: log-probability of each token under the student as it is [n].
            known: what the pull knows of each position [n, K].

        Returns:
            The sum of the loss, its derivative by each log-likelihood [n], and at how many
            positions the derivative was cut off.
        """


@dataclass(frozen=True, slots=True)
class Likelihood(Pull):
    """Cross-entropy; what is known of a position is its weight."""

    def __call__(self, likelihood: PerToken, known: Tensor) -> tuple[Tensor, PerToken, Tensor]:
        weights = known[:, 0]
        return -(likelihood * weights).sum(), -weights, likelihood.new_zeros(())


@dataclass(frozen=True, slots=True)
class Surrogate(Pull):
    """A policy gradient; what is known is the advantage, and the log-probability when drawn.

    The ratio of today's probability to that at the time of drawing corrects for both the steps
    that were taken since and the distribution that was drawn from.
    """

    clip: float | None
    """PPO's epsilon (arXiv:1707.06347, eq. 7): the ratio earns nothing beyond 1 - epsilon and 1 +
    epsilon. None for no limit."""

    def __call__(self, likelihood: PerToken, known: Tensor) -> tuple[Tensor, PerToken, Tensor]:
        advantages, drawn = known.unbind(-1)
        ratio = (likelihood - drawn).exp()
        gain = advantages * ratio
        if self.clip is None:
            return -gain.sum(), -gain, likelihood.new_zeros(())
        held = advantages * ratio.clamp(1 - self.clip, 1 + self.clip)
        cut = gain > held
        return -torch.minimum(gain, held).sum(), -gain.masked_fill(cut, 0.0), cut.sum()
