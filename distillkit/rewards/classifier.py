"""A sequence classifier or reward model of transformers as a reward."""

from collections.abc import Sequence

import torch

from distillkit.core.spec import spec
from distillkit.core.types import Answer
from distillkit.datasets.base import Dataset
from distillkit.models.classifying import Classifying
from distillkit.rewards.base import Judge, Reward, finite


@spec("reward/classifier")
class ClassifierReward(Classifying, Reward):
    """What a classifier says of a response: entailment, sentiment, or what people preferred.

    With one output, as reward models have, or trained for regression: that output as it is, of any
    size. With several: the probability of ``label``, from 0 to 1, by softmax, or by sigmoid where
    the model was trained to give several labels at once.
    """

    def reads_labels(self) -> bool:
        return False

    def judge(self, dataset: Dataset, *, device: torch.device) -> Judge:
        from distillkit.models.classifier import Classifier

        classifier = Classifier(self, device=device)

        def rewards(answers: Sequence[Answer]) -> list[float]:
            found = classifier([(answer.example.prompt, answer.text) for answer in answers])
            return finite(found, answers, source=f"reward.name={self.name}")

        return rewards
