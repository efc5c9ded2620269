"""Whole distributions of a teacher whose tokens are others, where both have read the same text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from distillkit.core.types import LogProbs, PerToken
from distillkit.supports.shared_ids import Pairs, Shared

if TYPE_CHECKING:  # it loads transformers, and this module is loaded for every composing
    from distillkit.opinions.states import StatesOpinion


@dataclass(frozen=True, slots=True)
class MatchedOpinion:
    """What a teacher thinks at those of N positions before which it has read the same text."""

    inner: "StatesOpinion"
    """Of every position; nothing where the boundaries do not coincide."""
    matched: Tensor
    """Whether they do [N]."""
    pairs: Pairs | None
    """Ids of the tokens that both have, where the support asks."""

    def __len__(self) -> int:
        return len(self.inner)

    @property
    def vocabulary(self) -> int:
        """Entries of the teacher's logits."""
        return self.inner.model.head.vocabulary

    def opened(self, rows: int) -> Callable[[slice], LogProbs | Shared]:
        """The teacher's logits of all its own ids."""
        logits, pairs = self.inner.opened(rows), self.pairs
        if pairs is None:
            return logits
        return lambda part: Shared(logits(part), *pairs)

    def drawn(self, *, chunk_mb: int) -> PerToken:
        """The teacher has read other tokens than were drawn."""
        raise NotImplementedError

    def rolled(self) -> Self:
        """Positions without an opinion move along."""
        by = len(self) // 2 or 1
        return replace(self, inner=self.inner.rolled(), matched=self.matched.roll(by, dims=0))

    def split(self, lengths: Sequence[int]) -> list[Self]:
        """Views."""
        parts = zip(self.inner.split(lengths), self.matched.split(lengths), strict=True)
        return [replace(self, inner=inner, matched=matched) for inner, matched in parts]

    def join(self, others: Sequence[Self]) -> Self:
        """A copy."""
        return replace(
            self,
            inner=self.inner.join([other.inner for other in others]),
            matched=torch.cat([self.matched, *(other.matched for other in others)]),
        )
