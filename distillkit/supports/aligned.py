"""Chunks of text on which two tokenizers agree, against everything else (arXiv:2503.20083)."""

from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from distillkit.core.bounds import ABOVE_ZERO, check_range
from distillkit.core.spec import spec
from distillkit.core.types import Ids, Index, LogProbs, PerToken, Targets
from distillkit.divergences.base import Divergence
from distillkit.supports.base import Support, merge, over_all
from distillkit.supports.odds import Odds, against_all_else, by_token

Runs = Int[Tensor, "C"]
Places = Int[Tensor, "M"]


class Chunked(NamedTuple):
    """What one side finds of chunks, said at the first position of each [N]; fp64."""

    log_probs: PerToken
    """Log-probability of a whole chunk."""
    lengths: Index
    """Positions that it covers; 0 where none begins."""

    def part(self, where: slice) -> "Chunked":
        """Some of the positions."""
        return Chunked(*(each[where] for each in self))

    def weights(self, weights: PerToken) -> PerToken:
        """A chunk's weight at each of its positions, their weights together; 0 outside [N]."""
        (starts,) = self.lengths.nonzero(as_tuple=True)
        chunk, places = covered(starts, self.lengths[starts])
        each = weights.new_zeros(len(starts), dtype=torch.float64)
        each = each.index_add(0, chunk, weights[places].double())
        return torch.zeros_like(weights).index_copy(0, places, each[chunk].to(weights.dtype))


class Pushed(NamedTuple):
    """What comparing chunks does to each position."""

    values: PerToken
    """The divergence of a chunk at its first position [N], else 0."""
    slopes: Float[Tensor, "N 2"]
    """Its derivative by the log-probability of the position's token, and by that of all others."""

    def part(self, where: slice) -> "Pushed":
        """Some of the positions."""
        return Pushed(*(each[where] for each in self))


@spec("support/aligned")
class Aligned(Support):
    """For a teacher of another tokenizer: how likely both find each chunk of the text.

    Both tokenisations are cut at the bytes where both have a boundary. A chunk's probability and
    that of everything else are two entries, on which any divergence is compared:
    ``support=sampled`` with a chunk for a token, and the same where the tokenizers are. It sees
    only how likely both find what was written. A chunk weighs as much as its positions do together;
    what belongs to no chunk counts nothing.

    Taken over from the paper: the chunks, the two entries and the temperature. Not taken over: its
    debiasing, which leaves out chunks by a threshold on how likely their end is a boundary, and
    what it distils of hidden states beside. The end token is a chunk of its own.
    """

    FOREIGN: ClassVar = True

    temperature: float = 1.0
    """The paper's tau: a chunk's probability p counts as p ** (1 / tau), everything else as the
    rest of that. 1 compares the probabilities themselves."""

    def __post_init__(self) -> None:
        check_range(self, "support.", ABOVE_ZERO, "temperature", hint="1 leaves it as it is.")

    def chosen(self, teacher: LogProbs, student: LogProbs, targets: Targets) -> Ids:
        return targets[:, None]

    def within(self, told: Support) -> bool:
        return isinstance(told, Aligned)

    def pushed(self, divergence: Divergence, theirs: Chunked, ours: Odds) -> Pushed:
        """The comparison of all chunks, and how it moves with each of their tokens.

        Args:
            divergence: of the two entries.
            theirs: the teacher's chunks.
            ours: the student's tokens at every position.
        """
        (starts,) = theirs.lengths.nonzero(as_tuple=True)
        chunk, places = covered(starts, theirs.lengths[starts])
        token = ours.sure()[places]
        whole = token.new_zeros(len(starts)).index_add(0, chunk, token)
        mine, right = (
            against_all_else(each / self.temperature) for each in (whole, theirs.log_probs[starts])
        )
        values, slope = divergence.slope(right, mine)
        slope = slope / self.temperature
        pushes = by_token(slope[chunk], mine[chunk], token, ours.rest[places].double())
        found = ours.log_probs.new_zeros(len(ours.log_probs), 3)
        found[starts, 0] = values.to(found.dtype)
        found[places, 1:] = pushes.to(found.dtype)
        return Pushed(found[:, 0], found[:, 1:])

    def slope(
        self,
        divergence: Divergence,
        teacher: object,
        student: LogProbs,
        targets: Targets,
    ) -> tuple[PerToken, LogProbs]:
        assert isinstance(teacher, Pushed)
        ids = self.chosen(student, student, targets)
        ours, rest = merge(student, ids)
        return teacher.values, over_all(teacher.slopes, ids, ours, rest)


def covered(starts: Runs, lengths: Runs) -> tuple[Places, Places]:
    """For every position of runs: the number of its run, and the position [M] each."""
    count = torch.arange(len(starts), device=starts.device)
    run = count.repeat_interleave(lengths)
    before = lengths.cumsum(0) - lengths
    inside = torch.arange(len(run), device=starts.device) - before[run]
    return run, starts[run] + inside
