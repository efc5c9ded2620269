"""What the policy-gradient objectives share: whose text they take, and how credit is learnt."""

from typing import Protocol

import torch

from distillkit.core.clock import Clock
from distillkit.core.errors import ConfigError
from distillkit.core.types import Author
from distillkit.models.likelihood import Scorer
from distillkit.objectives.base import Credit, Scored
from distillkit.objectives.comparison import Comparison
from distillkit.objectives.pulls import Surrogate
from distillkit.objectives.scoring import LossSums, Pulled, compare, pull_tokens


class PolicyGradient(Protocol):
    """An objective that gives credit."""

    chunk_mb: int
    clip: float | None

    def comparison(self) -> Comparison | None:
        """See :class:`Objective`."""


def backward_on_credit(
    self: PolicyGradient, batch: Scored, *, student: Scorer, clock: Clock | None = None
) -> dict[str, float]:
    """:meth:`Objective.backward` of a policy gradient: score functions, and any comparison.

    Returns:
        ``loss``, its two parts, and ``clipped_share`` of the tokens.
    """
    credit, exact, clock = batch.credit, self.comparison(), clock or Clock()
    assert credit is not None
    pulled = Pulled(Surrogate(self.clip), torch.stack([credit.advantages, credit.drawn], dim=-1))
    if exact is None:
        sums = pull_tokens(pulled, batch, student=student, chunk_mb=self.chunk_mb, clock=clock)
        return _parts(sums, credit)
    sums = compare(
        exact,
        batch,
        credit.exact,
        student=student,
        chunk_mb=self.chunk_mb,
        clock=clock,
        pulled=pulled,
    )
    return _parts(sums, credit)


def _parts(sums: LossSums, credit: Credit) -> dict[str, float]:
    return {
        "loss": sums.exact + sums.pulled,
        "loss/divergence": sums.exact,
        "loss/policy": sums.pulled,
        "clipped_share": sums.cut / credit.total,
    }


def check_clip(clip: float | None) -> None:
    """Refuse a clip that would leave no ratio, or that is none.

    Raises:
        ConfigError: it does not lie between 0 and 1.
    """
    if clip is not None and not 0 < clip < 1:
        raise ConfigError(
            f"objective.clip must lie strictly between 0 and 1, got {clip}. null turns it off."
        )


def take_own_text(name: str, authors: frozenset[Author]) -> None:
    """Refuse text whose probability under the student says nothing of how it came about.

    Raises:
        ConfigError: the dataset or the teacher alone may write.
    """
    if authors - {Author.student, Author.mixture}:
        raise ConfigError(
            f"objective={name} learns from text that the student draws. Use policy=on_policy or "
            "policy=teacher_mixed."
        )
