"""How near a response comes to a wanted length."""

import torch

from distillkit.core.bounds import check_least
from distillkit.core.spec import spec
from distillkit.core.types import Answer
from distillkit.datasets.base import Dataset
from distillkit.metrics.references import references
from distillkit.rewards.base import Judge, Reward
from distillkit.rewards.known import checked, needs_references


@spec("reward/length")
class LengthReward(Reward):
    """The shorter of both lengths over the longer: 1 at the target, 1/2 at its half and its double.

    So it lies in [0, 1], and still tells a response of ten times the target from one of twenty
    times. A response that the length limit cut counts as what was written of it.
    """

    target: int | None = None
    """Tokens, the end token included; null for the length of the example's reference, where both
    are counted in words and the nearest of several references counts."""

    def __post_init__(self) -> None:
        hint = ", or null for the reference's length"
        check_least(self, "reward.", 1, "target", hint=hint)

    def reads_labels(self) -> bool:
        return self.target is None

    def judge(self, dataset: Dataset, *, device: torch.device) -> Judge:
        if self.target is not None:
            target = self.target
            return lambda answers: [nearness(len(answer.tokens), target) for answer in answers]
        instead = "reward.target=<tokens>"
        check = needs_references(dataset, reward="reward.target=null", instead=instead)

        def score(answer: Answer) -> float:
            known = references(answer.example)
            return max(nearness(_words(answer.text), _words(reference)) for reference in known)

        return checked(score, dataset, check)


def nearness(length: int, target: int) -> float:
    """The smaller over the larger; 1 where both are 0."""
    return min(length, target) / max(length, target) if length != target else 1.0


def _words(text: str) -> int:
    return len(text.split())
