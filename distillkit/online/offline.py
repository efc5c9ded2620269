"""What a draft learns before the first request: the target's text on prompts that are to come."""

import math
from collections.abc import Callable, Sequence

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


def learn_offline(
    draft: OnlineDraft,
    requests: Sequence[Request],
    target: LanguageModel,
    *,
    settings: OfflineSettings,
    sampling: Sampling,
    optimizer: OptimizerSettings,
    labels: int,
    seed: int,
    poll: Callable[[], None],
    progress: Callable[[str, int, int], None],
) -> int:
    """Have a draft learn from a share of requests; how many texts the target wrote for it.

    Args:
        draft: learns with an optimiser that is gone afterwards.
        requests: those that the draft will propose for.
        target: writes.
        settings: how many of them, and how often.
        sampling: how it writes.
        optimizer: all but rate and schedule.
        labels: entries of its opinion that are learned from; 0 for all.
        seed: root seed of the run.
        poll: called between batches; may raise to stop.
        progress: told what is done, how much of it and of how much.
    """
    chosen = child_random(seed, "offline", draft.name).sample(
        range(len(requests)), round(settings.share * len(requests))
    )
    asked = [requests[row] for row in sorted(chosen)]
    starts = range(0, len(asked), settings.batch_size)
    lessons: list[Lesson] = []
    for start in starts:
        poll()
        part = asked[start : start + settings.batch_size]
        lessons += _written(part, target, sampling, labels=labels, seed=seed)
        progress("texts of the target", len(lessons), len(asked))
    peak = optimizer.lr if settings.lr is None else settings.lr
    rates = OptimizerSettings(lr=peak, schedule=Shape.cosine, warmup=WARMUP, floor=0.0)
    moves = adamw(draft.student.parameters(), optimizer)
    steps = settings.epochs * math.ceil(len(asked) / settings.batch_size)
    for step in range(steps):
        poll()
        epoch, batch = divmod(step, len(starts))
        order = child_random(seed, "epoch", draft.name, epoch).sample(
            range(len(lessons)), len(lessons)
        )
        rows = order[batch * settings.batch_size : (batch + 1) * settings.batch_size]
        rate = learning_rate(step, steps=steps, settings=rates)
        draft.step([lessons[row] for row in rows], moves, lr=rate, number=-1 - step)
        progress("updates before the first request", step + 1, steps)
    return len(lessons)


def _written(
    requests: Sequence[Request],
    target: LanguageModel,
    sampling: Sampling,
    *,
    labels: int,
    seed: int,
) -> list[Lesson]:
    """Texts and what the target thinks of them."""
    examples = [request.example for request in requests]
    seeds = [child_seed(seed, "offline", request.index) for request in requests]
    texts = LocalWriter(target, Author.teacher).write(examples, sampling, seed=seeds)
    rollouts = [Rollout(*pair) for pair in zip(examples, texts, strict=True)]
    lengths = [len(text.tokens) for text in texts]
    opinions: list[SparseOpinion] | list[None] = [None] * len(rollouts)
    if labels:
        with evaluating(target):
            opinions = _labels(rollouts, target, labels).split(lengths)
    return [
        Lesson(rollout, torch.ones(length), opinion)
        for rollout, length, opinion in zip(rollouts, lengths, opinions, strict=True)
    ]


def _labels(rollouts: Sequence[Rollout], target: LanguageModel, count: int) -> SparseOpinion:
    opinion = ModelReader(target).read(rollouts)
    rows = rows_within(CHUNK_MB, target.head.vocabulary)
    logits = opinion.opened(rows)
    parts = [
        entries(logits(slice(start, start + rows)), count) for start in range(0, len(opinion), rows)
    ]
    return SparseOpinion(Sparse(*(torch.cat(each) for each in zip(*parts, strict=True))))
