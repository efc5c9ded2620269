"""Opinions of chunks of text, by a teacher whose tokens are others (arXiv:2503.20083)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Never, Self

import torch

from distillkit.core.types import PerToken
from distillkit.supports.aligned import Chunked


@dataclass(frozen=True, slots=True)
class AlignedOpinion:
    """What a teacher finds of the chunks of N positions of the student's."""

    chunks: Chunked
    """At a chunk's first position its log-probability and length, elsewhere 0."""

    def __len__(self) -> int:
        return len(self.chunks.lengths)

    def opened(self, rows: int) -> Callable[[slice], Never]:
        """Chunks reach over slices, so that they are compared whole."""
        raise NotImplementedError

    def drawn(self, *, chunk_mb: int) -> PerToken:
        """The teacher has read other tokens than were drawn."""
        raise NotImplementedError

    def rolled(self) -> Self:
        """Another position's chunk has another length."""
        raise NotImplementedError

    def split(self, lengths: Sequence[int]) -> list[Self]:
        """Views; no chunk reaches from one rollout to another."""
        parts = zip(*(each.split(lengths) for each in self.chunks), strict=True)
        return [type(self)(Chunked(*part)) for part in parts]

    def join(self, others: Sequence[Self]) -> Self:
        """A copy."""
        parts = zip(self.chunks, *(other.chunks for other in others), strict=True)
        return type(self)(Chunked(*map(torch.cat, parts)))
