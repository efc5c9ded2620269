"""How long will it take? Real updates and answers are timed; the student is changed by it."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from distillkit.core.seeds import child_seed
from distillkit.core.types import Author, Example, Split
from distillkit.evaluation.quality import measure
from distillkit.models.language_model import LanguageModel
from distillkit.models.sampling import Sampling
from distillkit.policies.base import Policy
from distillkit.preflight.finding import Finding, ok
from distillkit.preflight.sizes import duration, size
from distillkit.preflight.subject import Subject
from distillkit.training.authors import AnyAuthor, KeptAuthor, authors_of, writer_of
from distillkit.training.loop import build_optimizer, distil
from distillkit.training.parts import Parts, other_text
from distillkit.training.sampler import Pool, draw_indices
from distillkit.training.sides import Sides
from distillkit.writers.local import LocalWriter

ANSWERS = 16
"""Examples answered to time an evaluation."""
WRITTEN = 64
"""Tokens of an answer that are waited for; longer ones are counted from these."""
STEPS_COUNTED = 1000
"""Steps at which the policy is asked who writes."""


@dataclass(kw_only=True, slots=True)
class Always(Policy):
    """One author, so that each one's updates can be timed apart."""

    author: Author

    def authors(self, step: int, count: int, *, steps: int, seed: int) -> list[Author]:
        return [self.author] * count

    def may_write(self) -> frozenset[Author]:
        return frozenset({self.author})


def pace(subject: Subject) -> Iterator[Finding]:
    """Seconds a step and minutes to the end, validations and measurements included."""
    subject.needs("vocabulary", "memory", "weights")
    run, device = subject.run, subject.student.device
    examples = [subject.examples[Split.train][index] for index in subject.kept]
    answering = _evaluation_seconds(subject)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    writing, seconds = 0.0, {}
    for author in sorted(subject.authors):
        took, seconds[author] = _update_seconds(subject, examples, author)
        writing += took
    shares = _shares(subject)
    step = sum(shares[author] * seconds[author] for author in seconds)
    each = ", ".join(
        f"{author} {seconds[author]:.2g} s ({shares[author]:.0%})" for author in sorted(seconds)
    )
    yield ok(f"{step:.2g} s a step, by who writes: {each}")
    learning = step * run.steps
    total = writing + learning + answering
    first = f"teacher's text {duration(writing)}, " if writing else ""
    yield ok(
        f"about {duration(total)} to the end: {first}{run.steps} steps {duration(learning)}, "
        f"validations and measurements {duration(answering)}"
    )
    if device.type == "cuda":
        yield ok(f"measured peak on {device}: {size(torch.cuda.max_memory_allocated(device))}")


def _update_seconds(
    subject: Subject, examples: Sequence[Example], author: Author
) -> tuple[float, float]:
    """Seconds to prepare this author's text for the whole run, and for one update."""
    run, count = subject.run, len(examples)
    # One to warm up, then as many as share a writing: text of two collections is read.
    steps = 1 + run.loop.span
    rows = run.loop.prompts
    drawn = {
        index
        for place in range(2)
        for index in draw_indices(place, batch_size=rows, count=count, seed=run.seed)
    }
    start = time.perf_counter()
    ready = _author(subject, author, [examples[index] for index in sorted(drawn)])
    took = time.perf_counter() - start
    # Only the teacher writes beforehand, and then for all examples.
    writing = took * count / len(drawn) if author is Author.teacher else 0.0
    sides = Sides.of(subject.student, subject.teacher)
    parts = Parts(
        sides=sides,
        pool=Pool.of(examples),
        policy=Always(author=author),
        authors={author: ready},
        objective=run.objective,
        loop=run.loop,
        optimizer=run.optimizer,
        seed=run.seed,
        steps=steps,
        judge=run.objective.judge(run.dataset, device=subject.student.device),
        other=other_text(run.objective, run.dataset_pt, sides=sides),
    )
    updates = distil(parts, build_optimizer(parts))
    next(updates)
    start = time.perf_counter()
    for _ in range(run.loop.span):
        next(updates)
    return writing, (time.perf_counter() - start) / run.loop.span


def _author(subject: Subject, author: Author, examples: Sequence[Example]) -> AnyAuthor:
    run, teacher = subject.run, subject.teacher
    if author is not Author.teacher:
        sides = Sides.of(subject.student, teacher)
        writer = writer_of(run.policy, run.writer, subject.student)
        authors = authors_of(
            run.policy, sides=sides, writer=writer, sampling=run.rollout, seed=run.seed
        )
        return authors[author]
    seed = child_seed(run.seed, "teacher")
    written = LocalWriter(teacher, author).write(examples, run.teacher_rollout, seed=seed)
    return KeptAuthor(
        {example.id: response for example, response in zip(examples, written, strict=True)}
    )


def _shares(subject: Subject) -> dict[Author, float]:
    """Part of the rows that each author writes over the whole run."""
    run = subject.run
    rows: list[Author] = []
    for step in range(0, run.steps, max(1, run.steps // STEPS_COUNTED)):
        rows += run.policy.authors(step, run.loop.batch_size, steps=run.steps, seed=run.seed)
    return {author: rows.count(author) / len(rows) for author in subject.authors}


def _evaluation_seconds(subject: Subject) -> float:
    """Validations on the way, and student before, student after and teacher on the test split."""
    run = subject.run
    validation = len(subject.examples.get(Split.validation, ()))
    test = len(subject.examples.get(Split.test, ()))
    rounds = -(-run.steps // run.evaluation.every) if run.evaluation.every else 0
    student = _answer_seconds(subject, subject.student) if validation or test else 0.0
    teacher = _answer_seconds(subject, subject.teacher) if test else 0.0
    return rounds * validation * student + test * (2 * student + teacher)


def _answer_seconds(subject: Subject, model: LanguageModel) -> float:
    """Seconds for one example of an evaluation."""
    run = subject.run
    split = Split.validation if subject.examples.get(Split.validation) else Split.test
    examples = subject.examples[split][:ANSWERS]
    limit = run.evaluation.max_new_tokens or run.rollout.max_new_tokens
    length = min(limit, WRITTEN)
    sampling = Sampling(max_new_tokens=length, batch_size=run.evaluation.batch_size)
    start = time.perf_counter()
    quality = measure(model, run.dataset, examples, sampling=sampling)
    took = (time.perf_counter() - start) / len(examples)
    going_on = quality.numbers().get("truncated_share", 0.0)
    return took * (1 - going_on + going_on * limit / length)
