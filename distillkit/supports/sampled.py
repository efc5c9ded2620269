"""The token of the response, against everything else."""

from distillkit.core.spec import spec
from distillkit.core.types import Ids, LogProbs, Targets
from distillkit.supports.base import Sparse, Support, Told


@spec("support/sampled")
class Sampled(Support):
    """One number a position from the teacher: the response's token, and a bucket for the rest.

    The loosest bound: it sees only how likely both models find what was written.
    """

    def chosen(self, teacher: LogProbs, student: LogProbs, targets: Targets) -> Ids:
        return targets[:, None]

    def within(self, told: Support) -> bool:
        return told.dense or isinstance(told, Sampled)

    def among(self, told: Told) -> Sparse:
        assert isinstance(told, Sparse)
        return told
