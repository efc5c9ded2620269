"""What every support is: it merges entries of both distributions in the same way."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from distillkit.core.types import Ids, LogProbs, PerToken, Targets
from distillkit.divergences.apart import FLOOR
from distillkit.divergences.base import Divergence


class Sparse(NamedTuple):
    """What is told of a distribution at each position: entries, likeliest first, and the rest."""

    ids: Ids
    log_probs: Float[Tensor, "N K"]
    rest: PerToken
    """Log-probability of all other entries together."""

    def part(self, where: slice) -> "Sparse":
        """Some of the positions."""
        return Sparse(*(each[where] for each in self))

    def kept(self, count: int) -> "Sparse":
        """Its first entries; the others join the rest."""
        if count >= self.ids.shape[-1]:
            return self
        left = torch.cat([self.log_probs[:, count:], self.rest[:, None]], dim=-1)
        return Sparse(self.ids[:, :count], self.log_probs[:, :count], left.logsumexp(-1))


class Drawn(NamedTuple):
    """An unbiased estimate of a distribution at each position: entries, some of them drawn."""

    ids: Ids
    """May repeat, and then add up."""
    log_weights: Float[Tensor, "N K"]
    """Their exponentials add up to 1 at a position, and are right in expectation."""
    entropy: PerToken
    """Of the whole distribution, in nats."""

    def part(self, where: slice) -> "Drawn":
        """Some of the positions."""
        return Drawn(*(each[where] for each in self))


Told = Sparse | Drawn
"""What somebody tells of a distribution who does not tell all of it."""


@dataclass(kw_only=True, slots=True)
class Support(ABC):
    """Chosen entries and one bucket for the mass of all others, on both sides alike.

    Merging can only lower an f-divergence (data processing inequality), so what a merged support
    reports is a bound, never nonsense, and mass that leaves the chosen entries is still seen.
    """

    FOREIGN: ClassVar = False
    """Whether the two tokenizers may be different ones, so that no ids are shared."""

    @abstractmethod
    def chosen(self, teacher: LogProbs, student: LogProbs, targets: Targets) -> Ids:
        """Ids [N, K] that keep an entry of their own.

        Args:
            teacher: log-probabilities [N, V].
            student: log-probabilities [N, V].
            targets: the token that the response holds at each position [N].
        """

    def within(self, told: "Support") -> bool:
        """Whether who tells the entries of another support tells those of this one too."""
        return told.dense

    def among(self, told: Told) -> Sparse:
        """This support's entries of what is told; for supports that are :meth:`within` it."""
        raise NotImplementedError

    @property
    def dense(self) -> bool:
        """Whether every entry is kept apart."""
        return False

    UNBIASED: ClassVar = False
    """Whether what is told is right in expectation alone."""

    def told(
        self, teacher: LogProbs, targets: Targets, generator: torch.Generator | None = None
    ) -> Told:
        """What is left of a teacher's whole distributions [N, V] where this support is told.

        For supports whose entries do not depend on the student.

        Args:
            teacher: log-probabilities.
            targets: the text's token at each position [N].
            generator: of draws, where any are made.
        """
        ids = self.chosen(teacher, teacher, targets)
        entries = merge(teacher, ids)[0]
        return Sparse(ids, entries[:, :-1], entries[:, -1])

    def slope(
        self,
        divergence: Divergence,
        teacher: object,
        student: LogProbs,
        targets: Targets,
    ) -> tuple[PerToken, LogProbs]:
        """The divergence on this support [N], and its derivative by all log-probs [N, V].

        Args:
            divergence: what is compared by.
            teacher: its log-probabilities [N, V], or what is told of them; supports of other
                tokenizers are given what their readers tell.
            student: log-probabilities [N, V].
            targets: the token that the response holds at each position [N].

        As with :meth:`Divergence.slope`, a multiple of the student's probabilities is left open.
        """
        if not isinstance(teacher, Tensor):
            assert isinstance(teacher, Sparse | Drawn), "refused when composing"
            told = self.among(teacher)
            ids, theirs = told.ids, torch.cat([told.log_probs, told.rest[:, None]], dim=-1)
        else:
            assert isinstance(teacher, Tensor)
            ids = self.chosen(teacher, student, targets)
            theirs = merge(teacher, ids)[0]
        ours, rest = merge(student, ids)
        values, slope = divergence.slope(theirs, ours)
        return values, over_all(slope, ids, ours, rest)


def merge(log_probs: LogProbs, ids: Ids) -> tuple[Float[Tensor, "N K+1"], LogProbs]:
    """Log-probs of the ids and, last, of all others together [N, K + 1]; the others alone [N, V].

    The bucket is summed over its entries: 1 - sum(chosen) would lose a small one to rounding.
    """
    rest = log_probs.scatter(-1, ids, FLOOR)
    bucket = rest.logsumexp(-1, keepdim=True).clamp_min(FLOOR)
    return torch.cat([log_probs.gather(-1, ids), bucket], dim=-1), rest


def over_all(
    slope: Float[Tensor, "N M"], ids: Ids, ours: Float[Tensor, "N M"], rest: LogProbs
) -> LogProbs:
    """A derivative by the entries of :func:`merge` as one by all log-probabilities [N, V].

    The bucket's log-probability moves with each of its entries in proportion to its share.

    Args:
        slope: by the ids and, last, by the bucket.
        ids: that keep an entry of their own.
        ours: log-probabilities of the same entries.
        rest: those of all others alone.
    """
    spread = (rest - ours[:, -1:]).exp() * slope[:, -1:]
    return spread.scatter(-1, ids, slope[:, :-1])
