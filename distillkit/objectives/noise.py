"""Gaussian noise on a teacher's logits: how right must its signal be? (arXiv:2505.15442)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch

from distillkit.core.seeds import child_seed
from distillkit.core.types import LogProbs
from distillkit.opinions.base import Heard


@dataclass(frozen=True, slots=True)
class Noise:
    """What is added at N packed positions; each has a seed, so no way of splitting them matters."""

    seeds: Sequence[int]
    """Of each position [N]."""
    scale: float
    """Standard deviation, in logits."""

    @classmethod
    def of(cls, scale: float, *, draw: int, lengths: Sequence[tuple[int, int]]) -> Self:
        """The noise of some rows of a global batch.

        Args:
            scale: standard deviation.
            draw: seed of the step.
            lengths: number of each row in the global batch, and its response tokens.
        """
        places = ((row, place) for row, length in lengths for place in range(length))
        return cls([child_seed(draw, row, place) for row, place in places], scale)

    def on(self, opened: Callable[[slice], Heard]) -> Callable[[slice], Heard]:
        """The same logits with noise, written where they stand."""

        def noisy(part: slice) -> Heard:
            logits = opened(part)
            assert isinstance(logits, torch.Tensor), "refused when composing"
            return logits.add_(self._drawn(part, logits), alpha=self.scale)

        return noisy

    def _drawn(self, part: slice, logits: LogProbs) -> LogProbs:
        generator = torch.Generator(logits.device)
        drawn = torch.empty_like(logits)
        for row, seed in zip(drawn, self.seeds[part], strict=True):
            row.normal_(generator=generator.manual_seed(seed))
        return drawn
