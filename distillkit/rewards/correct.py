"""Right or wrong, as the dataset judges it: the reward of reasoning with a known answer."""

import torch

from distillkit.core.spec import spec
from distillkit.datasets.base import Dataset
from distillkit.rewards.base import Judge, Reward
from distillkit.rewards.known import checked, needs_answer


@spec("reward/correct")
class Correct(Reward):
    """1 for a right final answer, by the dataset's own rule, else 0.

    A response that the length limit cut is read like any other.
    """

    def judge(self, dataset: Dataset, *, device: torch.device) -> Judge:
        check = needs_answer(dataset, reward="reward=correct")
        return checked(
            lambda answer: float(dataset.is_correct(answer.example, answer.text)), dataset, check
        )
