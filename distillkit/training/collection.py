"""Rollouts that are written together, and in which order updates learn from them.

Usually a collection is one batch, and one update learns from it. ``loop.collect`` makes it several
batches, ``loop.inner_epochs`` has each of them learnt from several times (PPO's inner epochs).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from distillkit.core.clock import Clock
from distillkit.core.seeds import child_random
from distillkit.core.types import Author, Example, Rollout
from distillkit.datasets.judging import answered
from distillkit.training.appraisal import appraise
from distillkit.training.authors import write_rollouts
from distillkit.training.parts import Parts
from distillkit.training.sampler import Pool, draw_indices
from distillkit.training.settings import LoopSettings
from distillkit.training.sides import Kept


@dataclass(frozen=True, slots=True)
class Collection:
    """Rollouts of one writing, with what is kept of the teacher's reading."""

    first: int
    """Index of the first update that learns from them."""
    rollouts: Sequence[Rollout]
    """Of all processes."""
    kept: Kept
    """Of the teacher's reading."""

    def batch(self, parts: Parts, step: int) -> tuple[list[Rollout], Kept]:
        """What one update learns from; the responses to a prompt stay together."""
        loop = parts.loop
        epoch, place = divmod(step - self.first, loop.collect)
        groups = [
            range(start, start + loop.group) for start in range(0, len(self.rollouts), loop.group)
        ]
        if loop.collect > 1:
            child_random(parts.seed, "inner", self.first, epoch).shuffle(groups)
        order = list(chain.from_iterable(groups))
        rows = order[place * loop.batch_size : (place + 1) * loop.batch_size]
        return [self.rollouts[row] for row in rows], self.kept.of(rows)


def collect(parts: Parts, step: int, *, clock: Clock) -> Collection:
    """Have the rollouts of the updates from ``step`` on written, rewarded and read."""
    loop, placement = parts.loop, parts.placement
    assert step % loop.span == 0
    count = loop.prompts * loop.group
    authors = parts.policy.authors(step, count, steps=parts.steps, seed=parts.seed)
    examples = asked(parts.pool, step // loop.span, authors, loop=loop, seed=parts.seed)
    writing = [model.module for model in parts.sides.writing(authors)]
    with clock("rollout"), placement.whole(*writing):
        written = placement.together(
            lambda: write_rollouts(
                examples, authors, authors=parts.authors, step=step, placement=placement
            )
        )
    return collection_of(parts, step, written, clock=clock)


def asked(
    pool: Pool, number: int, authors: Sequence[Author], *, loop: LoopSettings, seed: int
) -> list[Example]:
    """The examples of one writing, from 0 on, each as often as it is answered.

    Args:
        pool: what is drawn from.
        number: of the writing.
        authors: of its rows, as many as are asked for; the dataset's come from labelled examples.
        loop: sizes.
        seed: root seed of the run.
    """

    def drawn(examples: Sequence[Example]) -> list[Example]:
        indices = draw_indices(number, batch_size=loop.prompts, count=len(examples), seed=seed)
        return [examples[index] for index in indices for _ in range(loop.group)]

    every = drawn(pool.examples)
    if pool.labelled is pool.examples or Author.dataset not in authors:
        return every
    rows = zip(every, drawn(pool.labelled), authors, strict=True)
    return [known if author is Author.dataset else any_ for any_, known, author in rows]


def collection_of(
    parts: Parts, first: int, written: Mapping[int, Rollout], *, clock: Clock
) -> Collection:
    """Have what this process has written rewarded, put together with the others', and read."""
    placement = parts.placement
    if (judge := parts.judge) is not None:
        tokenizer = parts.sides.student.tokenizer
        with clock("reward"):
            answers = [
                answered(each.example, each.response, tokenizer) for each in written.values()
            ]
            judged = zip(written.items(), placement.together(lambda: judge(answers)), strict=True)
            written = {row: replace(rollout, reward=reward) for (row, rollout), reward in judged}
    found = placement.merge(written)
    return reopen(parts, first, [found[row] for row in sorted(found)], clock=clock)


def reopen(parts: Parts, first: int, rollouts: Sequence[Rollout], *, clock: Clock) -> Collection:
    """The collection of rollouts that are rewarded already, as those of a checkpoint are."""
    read, kept = appraise(
        rollouts,
        sides=parts.sides,
        objective=parts.objective,
        loop=parts.loop,
        placement=parts.placement,
        clock=clock,
    )
    return Collection(first, read, kept)
