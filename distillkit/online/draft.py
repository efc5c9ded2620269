"""A draft that learns from what the target thought of its proposals."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from distillkit.core.seeds import child_seed
from distillkit.core.types import Author, Rollout
from distillkit.distributed.placement import ALONE
from distillkit.models.language_model import LanguageModel
from distillkit.models.layers import seed_dropout
from distillkit.models.sampling import Sampling
from distillkit.objectives.base import Scored
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.online.records import Record
from distillkit.online.settings import UpdateSettings
from distillkit.opinions.base import Opinion
from distillkit.opinions.states import ModelReader
from distillkit.policies.base import Policy
from distillkit.training.dealing import spare_padding, split_rows
from distillkit.training.loop import adamw, check_finite
from distillkit.training.schedule import learning_rate
from distillkit.training.settings import OptimizerSettings
from distillkit.writers.local import LocalWriter
from distillkit.writers.mixture import MixtureWriter


@dataclass(frozen=True, slots=True)
class Lesson:
    """A text to learn from, with the weight of each position and what is known of the target's."""

    rollout: Rollout
    weights: torch.Tensor
    opinion: Opinion | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Learning:
    """How drafts learn.

    Attributes:
        objective: compares with the target at every position.
        policy: whose text it is: the target's as it was served, the draft's, or a mixture.
        update: weights and sizes.
        optimizer: of the rates.
        rollout: how text that is written for learning alone is drawn.
        updates: expected of the run, for schedules.
        seed: root seed of the run.
    """

    objective: DivergenceObjective
    policy: Policy
    update: UpdateSettings
    optimizer: OptimizerSettings
    rollout: Sampling
    updates: int
    seed: int


class OnlineDraft:
    """A student, its optimiser, and how often it has learned.

    Args:
        name: of the domain that it proposes for, or of all.
        student: learns.
        target: is imitated.
        learning: how.
    """

    def __init__(
        self, name: str, student: LanguageModel, target: LanguageModel, learning: Learning
    ) -> None:
        self.name, self.student, self.version = name, student, 0
        self._target, self._learning = target, learning
        self.optimizer = adamw(student.parameters(), learning.optimizer)

    def learn(self, records: Sequence[Record]) -> dict[str, float]:
        """One update from requests that were served; its loss and gradient norm."""
        learning = self._learning
        nth, updates = min(self.version, learning.updates - 1), learning.updates
        rate = learning_rate(nth, steps=updates, settings=learning.optimizer)
        found = self.step(self._lessons(records), self.optimizer, lr=rate, number=self.version)
        self.version += 1
        return {**found, "lr": rate}

    def step(
        self,
        lessons: Sequence[Lesson],
        optimizer: torch.optim.Optimizer,
        *,
        lr: float,
        number: int,
    ) -> dict[str, float]:
        """One update from lessons, the mean over their weights.

        Raises:
            RunError: the loss or the gradient is not finite.
        """
        student, update = self.student, self._learning.update
        seed_dropout(child_seed(self._learning.seed, "dropout", self.name, number), student.device)
        student.learn(dropout=True)
        optimizer.zero_grad(set_to_none=True)
        lessons = [lesson for lesson in lessons if self._teaches(lesson)]
        total = sum(float(lesson.weights.sum()) for lesson in lessons)
        loss = 0.0
        for part in self._parts(lessons):
            loss += self._backward(part, total)
        norm = ALONE.reduce_and_clip(student.parameters(), update.max_grad_norm)
        check_finite(loss, norm, number)
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
        student.module.eval()
        return {"loss": loss, "grad_norm": norm}

    def _teaches(self, lesson: Lesson) -> bool:
        """Whether a position counts, and the text fits into the draft's context."""
        width = _width(lesson, self.student)
        return bool(lesson.weights.any()) and width <= self.student.context

    def _parts(self, lessons: Sequence[Lesson]) -> list[list[Lesson]]:
        """Lessons that go through the models side by side."""
        models = (self.student, self._target)
        widths = [max(_width(lesson, model) for model in models) for lesson in lessons]
        spare = spare_padding(self.student, None)
        groups = split_rows(widths, self._learning.update.micro_batch_tokens, spare=spare)
        return [[lessons[row] for row in group] for group in groups]

    def _backward(self, part: Sequence[Lesson], total: float) -> float:
        student = self.student
        rollouts = [lesson.rollout for lesson in part]
        opinions = [lesson.opinion for lesson in part if lesson.opinion is not None]
        if len(opinions) < len(part):
            with torch.no_grad():
                opinions = [ModelReader(self._target).read(rollouts)]
        weights = torch.cat([lesson.weights for lesson in part]).to(student.device) / total
        scored = Scored(
            student=student.batch(
                student.prompts.of([rollout.example for rollout in rollouts]),
                [rollout.response.tokens for rollout in rollouts],
            ),
            weights=weights,
            opinion=opinions[0].join(opinions[1:]),
        )
        return self._learning.objective.backward(scored, student=student)["loss"]

    def _lessons(self, records: Sequence[Record]) -> list[Lesson]:
        """What the policy would have the draft learn from these requests."""
        learning, number = self._learning, self.version
        authors = learning.policy.authors(
            number, len(records), steps=learning.updates, seed=child_seed(learning.seed, self.name)
        )
        lessons: list[Lesson | None] = [
            self._served(record) if author is Author.teacher else None
            for record, author in zip(records, authors, strict=True)
        ]
        for author in sorted(set(authors) - {Author.teacher}):
            rows = [row for row, name in enumerate(authors) if name is author]
            for row, lesson in zip(
                rows, self._written(author, [records[row] for row in rows]), strict=True
            ):
                lessons[row] = lesson
        return [lesson for lesson in lessons if lesson is not None]

    def _served(self, record: Record) -> Lesson:
        return Lesson(record.rollout, record.weights(self._learning.update), record.opinion)

    def _written(self, author: Author, records: Sequence[Record]) -> list[Lesson]:
        """Text that is written for learning alone; the target has still to read it."""
        learning = self._learning
        writer: LocalWriter | MixtureWriter = LocalWriter(self.student)
        if (share := learning.policy.mixing()) is not None:
            writer = MixtureWriter(self.student, self._target, share=share)
        examples = [record.example for record in records]
        seed = child_seed(learning.seed, "learning", self.name, self.version, author)
        texts = writer.write(examples, learning.rollout, seed=seed)
        return [
            Lesson(Rollout(example, text), torch.ones(len(text.tokens)))
            for example, text in zip(examples, texts, strict=True)
        ]


def _width(lesson: Lesson, model: LanguageModel) -> int:
    """Tokens of prompt and response as a model reads them."""
    rollout = lesson.rollout
    return model.prompt_length(rollout.example) + len(rollout.response.tokens)
