"""What every policy is: a function from the step to the authors of its rows."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from distillkit.core.types import Author


@dataclass(kw_only=True, slots=True)
class Policy(ABC):
    """Names the author of each row. Author is data: the loop never asks which policy it runs."""

    @abstractmethod
    def authors(self, step: int, count: int, *, steps: int, seed: int) -> list[Author]:
        """Authors of the rows of one global batch.

        Args:
            step: index of the update, from 0.
            count: rows in the batch.
            steps: updates in the run, for schedules.
            seed: root seed of the run; the draw depends on it and the step alone, so all ranks
                agree and a resumed run draws the same.
        """

    @abstractmethod
    def may_write(self) -> frozenset[Author]:
        """Authors that may ever be named, so that only what is needed is prepared."""

    def mixing(self) -> float | None:
        """The teacher's share of each token where ``mixture`` may write; None where it may not."""
        return None
