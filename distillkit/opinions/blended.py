"""The opinion of several readers of one text: a mixture of their probabilities."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Self

import torch
from torch import Tensor

from distillkit.core.types import LogProbs, PerToken
from distillkit.opinions.base import Opinion


@dataclass(frozen=True, slots=True)
class BlendedOpinion:
    """What several readers say together, at every position in the same shares."""

    parts: Sequence[Opinion]
    """Of each reader, of all N positions."""
    shares: Sequence[float]
    """Of each reader, which add up to 1."""

    def __len__(self) -> int:
        return len(self.parts[0])

    def opened(self, rows: int) -> Callable[[slice], LogProbs]:
        """Log-probabilities of the mixture, written over the first reader's logits."""
        heard = [part.opened(rows) for part in self.parts]

        def blended(part: slice) -> LogProbs:
            total: LogProbs | None = None
            for share, hear in zip(self.shares, heard, strict=True):
                logits = hear(part)
                assert isinstance(logits, Tensor), "refused when composing"
                said = logits.sub_(logits.logsumexp(-1, keepdim=True)).add_(log(share))
                total = said if total is None else torch.logaddexp(total, said, out=total)
            assert total is not None
            return total

        return blended

    def drawn(self, *, chunk_mb: int) -> PerToken:
        """By the mixture."""
        said = (part.drawn(chunk_mb=chunk_mb) for part in self.parts)
        weighed = [each + log(share) for each, share in zip(said, self.shares, strict=True)]
        return torch.stack(weighed).logsumexp(0)

    def rolled(self) -> Self:
        """What is drawn stays where it is."""
        return replace(self, parts=[part.rolled() for part in self.parts])

    def split(self, lengths: Sequence[int]) -> list[Self]:
        """Views."""
        pieces = zip(*(part.split(lengths) for part in self.parts), strict=True)
        return [replace(self, parts=parts) for parts in pieces]

    def join(self, others: Sequence[Self]) -> Self:
        """A copy."""
        rows = zip(*(each.parts for each in (self, *others)), strict=True)
        return replace(self, parts=[first.join(more) for first, *more in rows])
