"""The token of the response, against everything else."""

from torch import Tensor

from distillkit.core.spec import spec
from distillkit.core.types import Ids, LogProbs, PerToken, Targets
from distillkit.divergences.base import Divergence
from distillkit.supports.base import Sparse, Support, Told, merge, over_all
from distillkit.supports.odds import Odds, against_all_else, by_token


@spec("support/sampled")
class Sampled(Support):
    """One number a position from the teacher: the response's token, and a bucket for the rest.

    The loosest bound: it sees only how likely both models find what was written.
    ``support=aligned`` is the same for tokenizers that differ.
    """

    def chosen(self, teacher: LogProbs, student: LogProbs, targets: Targets) -> Ids:
        return targets[:, None]

    def within(self, told: Support) -> bool:
        return told.dense or isinstance(told, Sampled)

    def among(self, told: Told) -> Sparse:
        assert isinstance(told, Sparse)
        return told

    def slope(
        self,
        divergence: Divergence,
        teacher: object,
        student: LogProbs,
        targets: Targets,
    ) -> tuple[PerToken, LogProbs]:
        told = self.told(teacher, targets) if isinstance(teacher, Tensor) else teacher
        assert isinstance(told, Sparse), "refused when composing"
        ids = targets[:, None]
        both, rest = merge(student, ids)
        theirs, ours = Odds(told.log_probs[:, 0], told.rest), Odds(both[:, 0], both[:, 1])
        right, mine = (against_all_else(each.sure()) for each in (theirs, ours))
        values, slope = divergence.slope(right, mine)
        pushes = by_token(slope, mine, ours.sure(), ours.rest.double()).to(student.dtype)
        return values.to(student.dtype), over_all(pushes, ids, both, rest)
