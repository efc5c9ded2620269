"""What a draft learns before the first request: the target's text on prompts that are to come."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from distillkit.core.seeds import child_random, child_seed
from distillkit.core.types import Author, Rollout
from distillkit.models.language_model import LanguageModel, evaluating
from distillkit.models.likelihood import rows_within
from distillkit.models.sampling import Sampling
from distillkit.models.speculation import entries
from distillkit.online.draft import Lesson, OnlineDraft
from distillkit.online.requests import Request
from distillkit.online.settings import OfflineSettings
from distillkit.opinions.sparse import SparseOpinion
from distillkit.opinions.states import ModelReader
from distillkit.supports.base import Sparse
from distillkit.training.loop import adamw
from distillkit.training.schedule import learning_rate
from distillkit.training.settings import OptimizerSettings, Shape
from distillkit.writers.local import LocalWriter

CHUNK_MB = 160
"""Mebibytes for logits of the target."""
WARMUP = 0.03
"""Share of the updates in which the rate rises, as in the authors' code."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Offline:
    """How drafts learn before the first request."""

    target: LanguageModel
    """Writes."""
    settings: OfflineSettings
    sampling: Sampling
    optimizer: OptimizerSettings
    """All but rate and schedule."""
    labels: int
    """Entries of the target's opinion that are learned from; 0 for all."""
    seed: int
    poll: Callable[[], None]
    progress: Callable[[str, int, int], None]
    """Told what is done, how much of it and of how much."""

    def learn(self, draft: OnlineDraft, requests: Sequence[Request]) -> None:
        """Have a draft learn from its share of requests, with an optimiser that is gone then."""
        settings, size = self.settings, self.settings.batch_size
        lessons = self._lessons(draft.name, requests)
        peak = self.optimizer.lr if settings.lr is None else settings.lr
        rates = OptimizerSettings(lr=peak, schedule=Shape.cosine, warmup=WARMUP, floor=0.0)
        moves = adamw(draft.student.parameters(), self.optimizer)
        starts = range(0, len(lessons), size)
        steps, step = settings.epochs * len(starts), 0
        for epoch in range(settings.epochs):
            coin = child_random(self.seed, "epoch", draft.name, epoch)
            order = coin.sample(lessons, len(lessons))
            for start in starts:
                self.poll()
                rate = learning_rate(step, steps=steps, settings=rates)
                draft.step(order[start : start + size], moves, lr=rate, number=-1 - step)
                step += 1
                self.progress("updates before the first request", step, steps)

    def _lessons(self, name: str, requests: Sequence[Request]) -> list[Lesson]:
        count, size = round(self.settings.share * len(requests)), self.settings.batch_size
        rows = child_random(self.seed, "offline", name).sample(range(len(requests)), count)
        asked = [requests[row] for row in sorted(rows)]
        lessons: list[Lesson] = []
        for start in range(0, count, size):
            self.poll()
            lessons += self._written(asked[start : start + size])
            self.progress("texts of the target", len(lessons), count)
        return lessons

    def _written(self, requests: Sequence[Request]) -> list[Lesson]:
        """Texts and what the target thinks of them."""
        examples = [request.example for request in requests]
        seeds = [child_seed(self.seed, "offline", request.index) for request in requests]
        writer = LocalWriter(self.target, Author.teacher)
        texts = writer.write(examples, self.sampling, seed=seeds)
        rollouts = [Rollout(*pair) for pair in zip(examples, texts, strict=True)]
        lengths = [len(text.tokens) for text in texts]
        opinions: Sequence[SparseOpinion | None] = [None] * len(rollouts)
        if self.labels:
            with evaluating(self.target):
                opinions = _labels(rollouts, self.target, self.labels).split(lengths)
        return [
            Lesson(rollout, torch.ones(length), opinion)
            for rollout, length, opinion in zip(rollouts, lengths, opinions, strict=True)
        ]


def _labels(rollouts: Sequence[Rollout], target: LanguageModel, count: int) -> SparseOpinion:
    opinion = ModelReader(target).read(rollouts)
    rows = rows_within(CHUNK_MB, target.vocabulary)
    logits = opinion.opened(rows)
    parts = [
        entries(logits(slice(start, start + rows)), count) for start in range(0, len(opinion), rows)
    ]
    return SparseOpinion(Sparse(*(torch.cat(each) for each in zip(*parts, strict=True))))
