"""ROUGE-L against the references, the reward of instruction following without a judge."""

import torch

from distillkit.core.spec import spec
from distillkit.datasets.base import Dataset
from distillkit.metrics.references import references
from distillkit.metrics.rouge import rouge_l
from distillkit.rewards.base import Judge, Reward
from distillkit.rewards.known import checked, needs_references


@spec("reward/rouge")
class RougeReward(Reward):
    """F1 from 0 to 1, stemmed, the best over an example's references, as ``metric=rouge`` has it.

    That metric tells the same number from 0 to 100: a student that is rewarded by it is no longer
    measured by it.
    """

    def judge(self, dataset: Dataset, *, device: torch.device) -> Judge:
        instead = "reward=correct, reward=classifier or reward=python"
        check = needs_references(dataset, reward="reward=rouge", instead=instead)
        score = rouge_l()
        return checked(
            lambda answer: score(references(answer.example), answer.text) / 100, dataset, check
        )
