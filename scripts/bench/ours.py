"""distillkit's training step, one at a time."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType
from typing import Any, Self
from unittest import mock

import torch
from torch import Tensor

from distillkit.core.types import Author, Example, Message
from distillkit.divergences.jsd import JensenShannon
from distillkit.divergences.kl import ReverseKL
from distillkit.models import end_to_end, generation, mixture
from distillkit.models.loading import load
from distillkit.models.pretrained import PromptStyle, Student, Teacher
from distillkit.models.sampling import Sampling
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.policies.fixed import OnPolicy
from distillkit.supports.full import Full
from distillkit.training.authors import WritingAuthor
from distillkit.training.loop import build_optimizer, distil
from distillkit.training.parts import Parts
from distillkit.training.sampler import Pool
from distillkit.training.settings import LoopSettings, OptimizerSettings
from distillkit.training.settings import Shape as Schedule
from distillkit.training.sides import Sides
from distillkit.writers.local import LocalWriter
from scripts.bench.pair import Ends, Shape, models_of, questions

LEARNING_RATE = 1e-4
BATCHES = 16
"""Batches of prompts in the training set, all whole, the same on every side."""


@contextmanager
def preset_lengths(ends: Ends) -> Iterator[None]:
    """Inside, our engine ends each row where ``ends`` says. The only tie to its insides."""
    ends.place = 0
    alone, together = generation.choose, mixture.choose_together

    def both(student: Tensor, teacher: Tensor, **rest: Any) -> Any:
        place = ends.place
        first = ends(student)
        ends.place = place
        return together(first, ends(teacher), **rest)

    with (
        mock.patch.object(generation, "choose", lambda logits, *rest: alone(ends(logits), *rest)),
        mock.patch.object(mixture, "choose_together", both),
    ):
        yield


def parts_of(shape: Shape) -> Parts:
    """What ``distillkit train policy=on_policy`` would assemble, on the benchmark's pair."""
    names = [str(folder) for folder in models_of(shape)]
    student, teacher = (
        load(
            kind(name=name, prompt=PromptStyle.plain),
            device=torch.device("cpu"),
            precision=shape.precision,
        )
        for kind, name in zip((Student, Teacher), names, strict=True)
    )
    examples = [
        Example(id=text, prompt=(Message("user", text),), reference="")
        for text in questions(shape, BATCHES)
    ]
    lengths = {len(student.prompts.prompt_ids(example)) for example in examples}
    assert shape.real or lengths == {shape.prompt}
    sampling = Sampling(max_new_tokens=shape.limit)
    divergence = JensenShannon(beta=0.5) if shape.divergence == "jsd" else ReverseKL()
    return Parts(
        sides=Sides.of(student, teacher),
        pool=Pool.of(examples),
        policy=OnPolicy(),
        authors={Author.student: WritingAuthor(LocalWriter(student), student, sampling, seed=0)},
        objective=DivergenceObjective(support=Full(), divergence=divergence),
        loop=LoopSettings(batch_size=len(shape.lengths), group=shape.group),
        optimizer=OptimizerSettings(lr=LEARNING_RATE, schedule=Schedule.constant, warmup=0.0),
        seed=0,
        steps=1_000_000,
    )


class OurSteps:
    """Steps of the real loop; each call takes one and says its seconds.

    Args:
        parts: what is trained.
        around: entered for each step, before its time begins.
    """

    def __init__(
        self, parts: Parts, around: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        attention = parts.sides.student.module.config._attn_implementation
        # End to end it is the same kernel, row by row.
        self.attention = "sdpa" if attention == end_to_end.NAME else attention
        self.tokens: list[int] = []
        self._updates, self._around = distil(parts, build_optimizer(parts)), around

    @classmethod
    def on_policy(cls, shape: Shape) -> Self:
        """On the student's own text of preset lengths."""
        parts = parts_of(shape)
        ends = Ends(shape, parts.sides.student.end_id)
        return cls(parts, lambda: preset_lengths(ends))

    def __call__(self) -> float:
        with self._around():
            start = time.perf_counter()
            update = next(self._updates)
            seconds = time.perf_counter() - start
        self.tokens.append(int(update.metrics["tokens"]))
        return seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._updates.close()
