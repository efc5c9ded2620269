"""What every reward is: finished responses to one number each."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from distillkit.core.types import Example
from distillkit.datasets.base import Dataset


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished response, as a reward sees it.

    Attributes:
        example: what was asked, with its reference and answer.
        text: the response, decoded without special tokens.
        tokens: how many it has, its end token included.
        truncated: whether the length limit cut it.
    """

    example: Example
    text: str
    tokens: int
    truncated: bool


Judge = Callable[[Sequence[Answer]], list[float]]
"""Answers to one reward each, in their order."""


@dataclass(kw_only=True, slots=True)
class Reward(ABC):
    """Says what answers are worth; higher is better."""

    @abstractmethod
    def judge(self, dataset: Dataset, *, device: torch.device) -> Judge:
        """Get ready to judge a run's answers: load what must be loaded, check what can be checked.

        Args:
            dataset: whose examples are answered; knows when an answer is right.
            device: where a reward that is a model runs.

        Raises:
            DistillkitError: the reward cannot judge this dataset, or cannot be loaded.
        """
