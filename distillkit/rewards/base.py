"""What every reward is: finished responses to one number each."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite

import torch

from distillkit.core.errors import DataError
from distillkit.core.types import Answer
from distillkit.datasets.base import Dataset

Judge = Callable[[Sequence[Answer]], list[float]]
"""Answers to one reward each, in their order."""


@dataclass(kw_only=True, slots=True)
class Reward(ABC):
    """Says what answers are worth; higher is better."""

    def reads_labels(self) -> bool:
        """Whether it may look at an example's references or answer."""
        return True

    @abstractmethod
    def judge(self, dataset: Dataset, *, device: torch.device) -> Judge:
        """Get ready to judge a run's answers: load what must be loaded, check what can be checked.

        Args:
            dataset: whose examples are answered; knows when an answer is right.
            device: where a reward that is a model runs.

        Raises:
            DistillkitError: the reward cannot judge this dataset, or cannot be loaded.
        """


def finite(rewards: Sequence[float], answers: Sequence[Answer], *, source: str) -> list[float]:
    """The rewards as they are: one infinite or undefined one would spoil the whole update.

    Args:
        rewards: one for each answer.
        answers: what was judged.
        source: where the rewards come from, as the user types it: ``reward=python``.

    Raises:
        DataError: a reward is not a finite number.
    """
    for reward, answer in zip(rewards, answers, strict=True):
        if not isfinite(reward):
            raise DataError(
                f"{source} gave {reward} for the example {answer.example.id} and the response "
                f"{answer.text[:60]!r}, and a reward must be a finite number. Mend it, or choose "
                "another reward."
            )
    return list(rewards)
