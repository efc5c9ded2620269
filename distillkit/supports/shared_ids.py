"""The tokens that two vocabularies have in common, where both have a boundary."""

from typing import ClassVar, NamedTuple

from distillkit.core.spec import spec
from distillkit.core.types import Ids, Index, LogProbs, PerToken, Targets
from distillkit.divergences.base import Divergence
from distillkit.supports.base import Support, merge, over_all


class Pairs(NamedTuple):
    """Ids of tokens that are the same bytes, in one order."""

    ours: Index
    """The student's [S]."""
    theirs: Index
    """The teacher's [S]."""


class Shared(NamedTuple):
    """A teacher's logits or log-probabilities of its own ids [n, V'], and which both have."""

    values: LogProbs
    ours: Index
    theirs: Index

    def part(self, where: slice) -> "Shared":
        """Some of the positions."""
        return self._replace(values=self.values[where])


@spec("support/shared_ids")
class SharedIds(Support):
    """An approximation for a teacher of another tokenizer: the next token, where both may have one.

    At positions before which both sides have read the same bytes, the distributions are compared on
    the tokens that both vocabularies have, with a bucket for all others on each side; other
    positions count nothing (KDFlow's ``simple_ctkd``). It is not exact: a token that both have is
    likelier on the side that has no longer token of the same beginning, so that two models that
    agree on every text do not agree here.
    """

    FOREIGN: ClassVar = True

    def chosen(self, teacher: LogProbs, student: LogProbs, targets: Targets) -> Ids:
        raise NotImplementedError

    def within(self, told: Support) -> bool:
        return False

    def slope(
        self,
        divergence: Divergence,
        teacher: object,
        student: LogProbs,
        targets: Targets,
    ) -> tuple[PerToken, LogProbs]:
        assert isinstance(teacher, Shared)
        count = len(student)
        theirs = merge(teacher.values, teacher.theirs.expand(count, -1))[0]
        ids = teacher.ours.expand(count, -1)
        ours, rest = merge(student, ids)
        values, slope = divergence.slope(theirs, ours)
        return values, over_all(slope, ids, ours, rest)
