"""What every objective is: it scores one micro-batch and leaves the gradient behind."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Optional

import torch
from torch import Tensor

from distillkit.core.bounds import POSITIVE, check_range
from distillkit.core.clock import Clock
from distillkit.core.types import Author, Batch, PerToken, Rollout
from distillkit.datasets.base import Dataset
from distillkit.models.likelihood import Scorer
from distillkit.objectives.comparison import Comparison
from distillkit.objectives.noise import Noise
from distillkit.opinions.base import Opinion
from distillkit.rewards.base import Judge


@dataclass(frozen=True, slots=True)
class Credit:
    """What a policy gradient makes of tokens that were drawn, of one rollout or of a batch.

    Each token's share of the global batch's mean is in the numbers already.
    """

    advantages: PerToken
    """What the gradient of each token's log-probability is multiplied with [N]."""
    exact: PerToken
    """Weight of the exact comparison with the teacher at each position [N]."""
    drawn: PerToken
    """Log-probability of each token under the distribution it was drawn from [N]."""
    total: int
    """Response tokens of the global batch."""

    def nothing(self) -> "Credit":
        """One token that earns nothing, in the same batch."""
        none = torch.zeros(1, dtype=self.advantages.dtype)
        return Credit(none, none, none, self.total)

    @classmethod
    def join(cls, parts: Sequence["Credit"], device: torch.device) -> "Credit":
        """Several rollouts end to end, in fp32."""
        advantages, exact, drawn = (
            torch.cat([getattr(part, name) for part in parts]).float().to(device)
            for name in ("advantages", "exact", "drawn")
        )
        return cls(advantages, exact, drawn, parts[0].total)


@dataclass(frozen=True, slots=True)
class Scored:
    """One micro-batch: as the student reads it, and what the teacher says of it."""

    student: Batch
    """Prompts in the student's format."""
    weights: Tensor
    """Share of each packed position in the global batch's mean [N], fp32."""
    credit: Credit | None = None
    """Of the packed positions, where the objective gives any."""
    opinion: Opinion | None = None
    """What the teacher thinks at them, where the objective compares."""
    noise: Noise | None = None
    """What is added to it; None for nothing."""
    counts: bool = True
    """Whether there is anything to learn: of several processes that must make as many passes, one
    may have none left."""


@dataclass(kw_only=True, slots=True)
class Objective(ABC):
    """A loss over packed positions whose weights are given, so it reduces exactly once."""

    POLICY_GRADIENT: ClassVar = False
    """Whether tokens are credited by how likely they were drawn. The student then drops nothing
    while it learns, as it drops nothing while it writes, and writes by its own distribution."""

    chunk_mb: int = 160
    """Mebibytes for logits of teacher and student; positions are projected so many at a time."""

    def __post_init__(self) -> None:
        check_range(self, "objective.", POSITIVE, "chunk_mb")

    @abstractmethod
    def backward(
        self, batch: Scored, *, student: Scorer, clock: Clock | None = None
    ) -> dict[str, float]:
        """Add this micro-batch's gradient to the student's parameters.

        Args:
            batch: what is learnt from.
            student: learns.
            clock: counts the phases ``teacher``, ``student`` and ``loss``.

        Returns:
            Its parts of ``loss`` and of what else is to be logged; the parts of a global batch
            add up to the whole.
        """

    def credit(
        self, rollouts: Sequence[Rollout], weights: Sequence[float]
    ) -> Sequence[Credit] | None:
        """What each rollout's tokens earn, where the objective is a policy gradient.

        Args:
            rollouts: the global batch, with the log-probs and rewards that the objective asks for.
            weights: share of each response position of a row in the mean, a number for each row.
        """
        return None

    def comparison(self) -> Comparison | None:
        """The exact comparison with the teacher at every position; None where there is none."""
        return None

    def scores_text(self) -> bool:
        """Whether :meth:`credit` reads what the teacher thinks of the tokens that were drawn."""
        return False

    def needs_teacher(self) -> bool:
        """Whether there is nothing to learn without a teacher."""
        return self.comparison() is not None or self.scores_text()

    def beside(self) -> Optional["Beside"]:
        """What is minimised on pre-training text beside the rollouts; None for nothing."""
        return None

    def judge(self, dataset: Dataset, *, device: torch.device) -> Judge | None:
        """Who gives rollouts their rewards, ready to; None where none is asked for.

        Raises:
            DistillkitError: nobody can judge this dataset's answers so.
        """
        return None

    def check_group(self, size: int) -> None:  # noqa: B027 (most look at each row alone)
        """Refuse a number of responses to each prompt.

        Raises:
            ConfigError: they are too few.
        """

    def check_authors(self, authors: frozenset[Author]) -> None:  # noqa: B027 (most take any)
        """Refuse text that this objective must not be trained on.

        Raises:
            ConfigError: an author may write what the objective cannot use.
        """


@dataclass(frozen=True, slots=True)
class Beside:
    """An objective on other text, and its weight beside the first one's loss."""

    objective: Objective
    weight: float
