"""What the policy-gradient objectives share: whose text they take, and one step on their credit."""

from dataclasses import dataclass

import torch

from distillkit.core.clock import Clock
from distillkit.core.errors import ConfigError
from distillkit.core.types import Author
from distillkit.objectives.base import Credit, Objective, Scored, Scorer
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.objectives.pulls import Surrogate
from distillkit.objectives.scoring import Pulled, Sums, compare, pull_tokens


@dataclass(frozen=True, slots=True)
class Sides:
    """Who learns and who judges."""

    student: Scorer
    teacher: Scorer | None


def step_on_credit(
    objective: Objective, batch: Scored, *, sides: Sides, clip: float | None, clock: Clock | None
) -> dict[str, float]:
    """Add the gradient of a batch's credit: score functions, and the comparison where there is one.

    Returns:
        ``loss``, its two parts, and ``clipped_share`` of the tokens.
    """
    credit, exact, clock = batch.credit, objective.comparison(), clock or Clock()
    assert credit is not None
    pulled = Pulled(Surrogate(clip), torch.stack([credit.advantages, credit.drawn], dim=-1))
    if exact is None:
        sums = pull_tokens(
            pulled, batch, student=sides.student, chunk_mb=objective.chunk_mb, clock=clock
        )
    else:
        assert isinstance(exact, DivergenceObjective)
        assert sides.teacher is not None
        sums = compare(
            exact,
            batch,
            credit.exact,
            student=sides.student,
            teacher=sides.teacher,
            chunk_mb=objective.chunk_mb,
            clock=clock,
            pulled=pulled,
        )
    return _parts(sums, credit)


def _parts(sums: Sums, credit: Credit) -> dict[str, float]:
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
