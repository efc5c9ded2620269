"""What the checks look at: a run, its models and examples, and a probe batch of them."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch

from distillkit.core.clock import Clock
from distillkit.core.types import Author, Batch, Example, Response, Split
from distillkit.models.language_model import LanguageModel, evaluating
from distillkit.models.sampling import Sampling
from distillkit.objectives.base import Scored
from distillkit.objectives.comparison import Comparison, Control
from distillkit.objectives.scoring import compare
from distillkit.opinions.base import Opinion
from distillkit.opinions.states import StatesOpinion
from distillkit.preflight.machine import Machine
from distillkit.run import TrainRun
from distillkit.training.authors import DatasetAuthor
from distillkit.writers.local import LocalWriter

PROBE_ROWS = range(8, 33)
"""Fewest and most rows of the probe batch, where there are as many."""
PROBE_POSITIONS = 128
"""Response positions at which the probe batch is long enough."""
PROBE_TOKENS = 4096
"""Tokens at which it ends in any case."""
PROBE_WRITTEN = 128
"""Longest response that the teacher writes for it, where there are no references."""


class MissingPartError(Exception):
    """A check needs a part of the run that an earlier finding has taken away."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A few examples with a response each, as both models read them."""

    examples: Sequence[Example]
    """Of the training split."""
    responses: Sequence[Response]
    """The references, closed; the teacher's text where there is none."""
    student: Batch
    """Both, as the student reads them."""
    teacher: Batch
    """Both, as the teacher does."""

    def scored(self, opinion: Opinion) -> Scored:
        """The student's batch beside an opinion; every position weighs the same, all together 1."""
        count, device = len(self.student.targets), self.student.targets.device
        weights = torch.full((count,), 1 / count, device=device)
        return Scored(student=self.student, weights=weights, opinion=opinion)


@dataclass(kw_only=True)
class Subject:
    """A run as far as it has been put together."""

    run: TrainRun
    """The spec tree."""
    folder: Path
    """The run directory, which may not exist."""
    room: int
    """Response tokens that every training prompt must leave room for."""
    machine: Machine
    """Where it would run."""
    models: dict[str, LanguageModel] = field(default_factory=dict)
    """``teacher`` and ``student``, as far as they could be loaded."""
    examples: dict[Split, Sequence[Example]] = field(default_factory=dict)
    """By split, as far as they could be read."""
    refused: set[str] = field(default_factory=set)
    """Names of the checks that found something fatal."""

    @property
    def teacher(self) -> LanguageModel:
        """The teacher.

        Raises:
            MissingPartError: it could not be loaded.
        """
        return self._model("teacher")

    @property
    def student(self) -> LanguageModel:
        """The student.

        Raises:
            MissingPartError: it could not be loaded.
        """
        return self._model("student")

    def _model(self, side: str) -> LanguageModel:
        if side not in self.models:
            raise MissingPartError(f"the {side} could not be loaded")
        return self.models[side]

    def sides(self) -> Iterator[tuple[str, LanguageModel]]:
        """The models that could be loaded, by side.

        Raises:
            MissingPartError: neither could.
        """
        if not self.models:
            raise MissingPartError("no model could be loaded")
        yield from self.models.items()

    @property
    def context(self) -> int:
        """Tokens that the smaller of both contexts holds."""
        return min(self.teacher.context, self.student.context)

    @property
    def authors(self) -> frozenset[Author]:
        """Who may write what is trained on."""
        return self.run.policy.may_write()

    def needs(self, *checks: str) -> None:
        """End a check whose numbers would mean nothing after these failed.

        Raises:
            MissingPartError: one of them found something fatal.
        """
        for name in checks:
            if name in self.refused:
                raise MissingPartError(f"needs what '{name}' found wrong")

    @cached_property
    def prompt_lengths(self) -> list[int]:
        """Tokens of every training prompt, in the format that makes more of them."""
        sides = (self.teacher, self.student)
        return [max(side.prompt_length(example) for side in sides) for example in self._training()]

    @cached_property
    def reference_lengths(self) -> list[int]:
        """Tokens of every training reference with its end token; 0 where there is none."""
        return [
            len(self.student.reference_ids(example)) if example.teaches else 0
            for example in self._training()
        ]

    @cached_property
    def kept(self) -> list[int]:
        """Indices of the training examples that a run would use.

        Raises:
            MissingPartError: there is none.
        """
        limit = self.run.loop.max_prompt_tokens
        kept = [
            index
            for index, length in enumerate(self.prompt_lengths)
            if 0 < length <= self.context - self.room and (limit is None or length <= limit)
        ]
        if not kept:
            raise MissingPartError("no training prompt can be used")
        return kept

    @cached_property
    def probe(self) -> Probe:
        """The probe batch.

        Raises:
            MissingPartError: teacher and student do not share their ids.
        """
        self.needs("vocabulary")
        texts = [self._training()[index] for index in self.kept[: PROBE_ROWS[-1]]]
        examples: list[Example] = []
        responses: list[Response] = []
        tokens = 0
        for example, response in zip(texts, self._respond(texts), strict=False):
            examples.append(example)
            responses.append(response)
            tokens += self.prompt_lengths[self.kept[len(examples) - 1]] + len(response.tokens)
            enough = sum(len(item.tokens) for item in responses) >= PROBE_POSITIONS
            if tokens > PROBE_TOKENS or (enough and len(examples) >= PROBE_ROWS[0]):
                break
        written = [response.tokens for response in responses]
        student, teacher = (
            side.batch(side.prompts.of(examples), written) for side in (self.student, self.teacher)
        )
        return Probe(examples, responses, student, teacher)

    @cached_property
    def seconds(self) -> float:
        """Of a pass of both models through the probe batch, without gradient; timed."""
        probe = self.probe
        start = time.perf_counter()
        for model, batch in ((self.student, probe.student), (self.teacher, probe.teacher)):
            with evaluating(model):
                model.hidden(batch)
            model.wait()
        return time.perf_counter() - start

    @cached_property
    def losses(self) -> dict[Control, tuple[float, float]]:
        """Loss and gradient norm of the pair on the probe batch, as it is and shuffled."""
        comparison = self.run.objective.comparison()
        assert comparison is not None
        opinion = opinion_of(self.teacher, self.probe.teacher)
        return {
            control: self.loss_and_norm(replace(comparison, control=control), opinion)
            for control in (Control.none, Control.shuffled_teacher)
        }

    def loss_and_norm(self, comparison: Comparison, opinion: Opinion) -> tuple[float, float]:
        """Of the student on the probe batch, without dropout; no gradient is left behind."""
        student, scored = self.student, self.probe.scored(opinion)
        training = student.module.training
        student.module.eval()
        try:
            found = compare(
                comparison,
                scored,
                scored.weights,
                student=student,
                chunk_mb=self.run.objective.chunk_mb,
                clock=Clock(),
            )
            grads = [p.grad for p in student.parameters() if p.grad is not None]
            norm = torch.stack([grad.norm(dtype=torch.float32) for grad in grads]).norm().item()
        finally:
            student.module.zero_grad(set_to_none=True)
            student.module.train(training)
        return found.exact, norm

    def _respond(self, examples: list[Example]) -> list[Response]:
        """References where all have one, else what the teacher writes for the first few."""
        if all(example.teaches for example in examples):
            return DatasetAuthor(self.student, [self.student, self.teacher]).write(examples, step=0)
        length = min(PROBE_WRITTEN, self.run.teacher_rollout.max_new_tokens)
        return LocalWriter(self.teacher, Author.teacher).write(
            examples[: PROBE_ROWS[0]], Sampling(temperature=0, max_new_tokens=length), seed=0
        )

    def _training(self) -> Sequence[Example]:
        if Split.train not in self.examples:
            raise MissingPartError("the dataset could not be read")
        return self.examples[Split.train]


def opinion_of(model: LanguageModel, batch: Batch) -> Opinion:
    """What a model thinks of a batch, without a gradient."""
    with torch.no_grad():
        return StatesOpinion(model.hidden(batch), batch.targets, model)
