"""Probabilities by rank, whatever their tokens are (ULD, arXiv:2402.12030, as in TRL's GOLD)."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from distillkit.core.bounds import POSITIVE, check_range
from distillkit.core.spec import spec
from distillkit.core.types import Ids, LogProbs, PerToken, Targets
from distillkit.divergences.apart import FLOOR
from distillkit.divergences.base import Divergence
from distillkit.supports.base import Support, merge, over_all


@spec("support/ranked")
class Ranked(Support):
    """A baseline for a teacher of another tokenizer: the shape of its distributions alone.

    At positions before which both sides have read the same bytes, both distributions are sorted and
    compared rank by rank; other positions count nothing. Which tokens they are is not looked at: a
    student that is as sure as its teacher of something else has nothing to learn. With
    ``divergence=tvd`` this is half of ULD, whose distance is not halved.
    """

    FOREIGN: ClassVar = True

    k: int | None = None
    """Likeliest ranks that are compared, with one bucket for the others; null for all ranks, the
    shorter list padded with zeros, which some divergences call infinitely far apart."""

    def __post_init__(self) -> None:
        check_range(self, "support.", POSITIVE, "k", hint="null compares all ranks.")

    def chosen(self, teacher: LogProbs, student: LogProbs, targets: Targets) -> Ids:
        return _likeliest(student, self.k or student.shape[-1])

    def within(self, told: Support) -> bool:
        return False

    def slope(
        self,
        divergence: Divergence,
        teacher: object,
        student: LogProbs,
        targets: Targets,
    ) -> tuple[PerToken, LogProbs]:
        assert isinstance(teacher, Tensor)
        if self.k is not None:
            ids = _likeliest(student, self.k)
            ours, rest = merge(student, ids)
            theirs = merge(teacher, _likeliest(teacher, self.k))[0]
            values, slope = divergence.slope(theirs, ours)
            return values, over_all(slope, ids, ours, rest)
        ours, ids = student.sort(dim=-1, descending=True)
        theirs = teacher.sort(dim=-1, descending=True).values
        ranks = max(ours.shape[-1], theirs.shape[-1])
        values, slope = divergence.slope(*(_padded(side, ranks) for side in (theirs, ours)))
        return values, torch.empty_like(student).scatter_(-1, ids, slope[:, : ids.shape[-1]])


def _likeliest(side: LogProbs, count: int) -> Ids:
    return side.topk(min(count, side.shape[-1]), dim=-1).indices


def _padded(side: LogProbs, ranks: int) -> Float[Tensor, "N W"]:
    return functional.pad(side, (0, ranks - side.shape[-1]), value=FLOOR)
