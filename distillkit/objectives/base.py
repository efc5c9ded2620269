"""What every objective is: it scores one micro-batch and leaves the gradient behind."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from distillkit.core.clock import Clock
from distillkit.core.errors import ConfigError
from distillkit.core.types import Author, Batch
from distillkit.models.head import Head


class Scorer(Protocol):
    """The part of a language model that an objective needs."""

    head: Head

    def hidden(self, batch: Batch) -> Tensor:
        """Last hidden states at the packed positions [N, D]."""
        ...


@dataclass(frozen=True, slots=True)
class Scored:
    """One micro-batch as both models read it.

    Attributes:
        student: prompts in the student's format.
        teacher: the same responses after prompts in the teacher's format; the packed positions
            of both run through the same response tokens in the same order.
        weights: share of each packed position in the global batch's mean [N], fp32.
    """

    student: Batch
    teacher: Batch
    weights: Tensor


@dataclass(kw_only=True, slots=True)
class Objective(ABC):
    """A loss over packed positions whose weights are given, so it reduces exactly once."""

    chunk_mb: int = 160
    """Mebibytes for logits of teacher and student; positions are projected so many at a time."""

    def __post_init__(self) -> None:
        if self.chunk_mb < 1:
            raise ConfigError(f"objective.chunk_mb must be at least 1, got {self.chunk_mb}.")

    @abstractmethod
    def backward(
        self,
        batch: Scored,
        *,
        student: Scorer,
        teacher: Scorer | None,
        clock: Clock | None = None,
    ) -> float:
        """Add this micro-batch's gradient to the student's parameters.

        Args:
            batch: what both models read.
            student: learns.
            teacher: judges, where the objective needs it.
            clock: counts the phases ``teacher``, ``student`` and ``loss``.

        Returns:
            Its part of the loss; the parts of a global batch add up to the loss.
        """

    def check_authors(self, authors: frozenset[Author]) -> None:  # noqa: B027 (most take any)
        """Refuse text that this objective must not be trained on.

        Raises:
            ConfigError: an author may write what the objective cannot use.
        """
