"""Right or wrong, as the dataset judges it: the reward of reasoning with a known answer."""

from collections.abc import Sequence

import torch

from distillkit.core.spec import spec
from distillkit.core.types import Answer
from distillkit.datasets.base import Dataset
from distillkit.rewards.base import Judge, Reward
from distillkit.rewards.known import check_training_split, needs_answer


@spec("reward/correct")
class Correct(Reward):
    """1 for a right final answer, by the dataset's own rule, else 0.

    A response that the length limit cut is read like any other.
    """

    def judge(self, dataset: Dataset, *, device: torch.device) -> Judge:
        check = needs_answer(dataset, reward="reward=correct")
        check_training_split(dataset, check)

        def rewards(answers: Sequence[Answer]) -> list[float]:
            for answer in answers:
                check(answer.example)
            return [float(dataset.is_correct(answer.example, answer.text)) for answer in answers]

        return rewards
