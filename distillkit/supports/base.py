"""What every support is: it merges entries of both distributions in the same way."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from distillkit.core.types import Ids, LogProbs, PerToken, Targets
from distillkit.divergences.base import FLOOR, Divergence


@dataclass(kw_only=True, slots=True)
class Support(ABC):
    """Chosen entries and one bucket for the mass of all others, on both sides alike.

    Merging can only lower an f-divergence (data processing inequality), so what a merged support
    reports is a bound, never nonsense, and mass that leaves the chosen entries is still seen.
    """

    @abstractmethod
    def chosen(self, teacher: LogProbs, student: LogProbs, targets: Targets) -> Ids:
        """Ids [N, K] that keep an entry of their own.

        Args:
            teacher: log-probabilities [N, V].
            student: log-probabilities [N, V].
            targets: the token that the response holds at each position [N].
        """

    def slope(
        self, divergence: Divergence, teacher: LogProbs, student: LogProbs, targets: Targets
    ) -> tuple[PerToken, LogProbs]:
        """The divergence on this support [N], and its derivative by all log-probs [N, V].

        As with :meth:`Divergence.slope`, a multiple of the student's probabilities is left open.
        """
        ids = self.chosen(teacher, student, targets)
        ours, rest = merge(student, ids)
        values, slope = divergence.slope(merge(teacher, ids)[0], ours)
        # The bucket's log-probability moves with each of its entries in proportion to its share.
        spread = (rest - ours[:, -1:]).exp() * slope[:, -1:]
        return values, spread.scatter(-1, ids, slope[:, :-1])


def merge(log_probs: LogProbs, ids: Ids) -> tuple[Float[Tensor, "N K+1"], LogProbs]:
    """Log-probs of the ids and, last, of all others together [N, K + 1]; the others alone [N, V].

    The bucket is summed over its entries: 1 - sum(chosen) would lose a small one to rounding.
    """
    rest = log_probs.scatter(-1, ids, FLOOR)
    bucket = rest.logsumexp(-1, keepdim=True).clamp_min(FLOOR)
    return torch.cat([log_probs.gather(-1, ids), bucket], dim=-1), rest
