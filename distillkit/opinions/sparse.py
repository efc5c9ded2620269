"""What a server or a file says of each position: some entries, and the mass of all others."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from distillkit.core.types import PerToken, Targets
from distillkit.divergences.apart import log_probs
from distillkit.opinions.base import Opinion
from distillkit.supports.base import Drawn, Sparse, Support, Told


@dataclass(frozen=True, slots=True)
class SparseOpinion:
    """Entries of N positions, and how likely what was drawn is."""

    entries: Told
    """Ids, their log-probabilities, and that of the rest; or drawn ids and their weights."""
    of_drawn: PerToken | None = None
    """Log-probability of the text's token at each position [N]; None where untold."""

    def __len__(self) -> int:
        return len(self.entries.ids)

    def opened(self, rows: int) -> Callable[[slice], Told]:
        """Nothing has to be made ready."""
        return self.entries.part

    def drawn(self, *, chunk_mb: int) -> PerToken:
        """As it was told."""
        assert self.of_drawn is not None, "refused when composing"
        return self.of_drawn

    def rolled(self) -> Self:
        """What is drawn stays where it is."""
        by = len(self) // 2 or 1
        return replace(
            self, entries=_like(self.entries, (each.roll(by, dims=0) for each in self.entries))
        )

    def split(self, lengths: Sequence[int]) -> list[Self]:
        """Views."""
        entries = zip(*(each.split(lengths) for each in self.entries), strict=True)
        told = [None] * len(lengths) if self.of_drawn is None else self.of_drawn.split(lengths)
        return [
            replace(self, entries=_like(self.entries, part), of_drawn=drawn)
            for part, drawn in zip(entries, told, strict=True)
        ]

    def join(self, others: Sequence[Self]) -> Self:
        """A copy."""
        parts = (self, *others)
        told = [part.of_drawn for part in parts if part.of_drawn is not None]
        return replace(
            self,
            entries=_end_to_end([part.entries for part in parts]),
            of_drawn=torch.cat(told) if told else None,
        )


def _like(told: Told, columns: Iterable[Tensor]) -> Told:
    return type(told)(*columns)


def _end_to_end(parts: Sequence[Told]) -> Told:
    return _like(parts[0], map(torch.cat, zip(*parts, strict=True)))


def told(
    opinion: Opinion,
    targets: Targets,
    support: Support,
    *,
    rows: int,
    chunk_mb: int,
    generator: torch.Generator | None = None,
) -> SparseOpinion:
    """An opinion as one of a support's entries alone, with how likely the text is.

    Args:
        opinion: of N positions, of every entry or of more than the support's.
        targets: the text's token at each [N].
        support: whose entries do not depend on the student.
        rows: positions whose logits are made at a time.
        chunk_mb: mebibytes for logits.
        generator: of draws, where the support has any.
    """
    heard, parts = opinion.opened(rows), []
    for start in range(0, len(opinion), rows):
        part = slice(start, min(start + rows, len(opinion)))
        found = heard(part)
        if isinstance(found, Tensor):
            parts.append(support.told(log_probs(found), targets[part], generator))
        else:
            assert isinstance(found, Sparse | Drawn), "refused when composing"
            parts.append(found if support.UNBIASED else support.among(found))
    return SparseOpinion(_end_to_end(parts), opinion.drawn(chunk_mb=chunk_mb))
