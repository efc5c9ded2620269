"""What ``loop.inner_epochs`` saves: MiniLLM with writing, each text learnt from 1, 2 or 4 times.

Writing and reading are paid for once a text, learning at every update, so the expectation is
(writing + reading) / inner + learning, with the three of one epoch in the same turn.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rich.console import Console

from distillkit.core.types import Author, Update
from distillkit.models.sampling import Sampling
from distillkit.objectives.minillm import MiniLLM
from distillkit.policies.base import Policy
from distillkit.policies.fixed import OnPolicy
from distillkit.policies.teacher_mixed import TeacherMixed
from distillkit.training.authors import WritingAuthor
from distillkit.training.loop import build_optimizer, distil
from distillkit.training.settings import LoopSettings
from distillkit.writers.mixture import MixtureWriter
from scripts.bench.compare import Options
from scripts.bench.measure import alternate, quartiles
from scripts.bench.ours import parts_of, preset_lengths
from scripts.bench.pair import Ends, Shape
from scripts.bench.report import plain_table

POLICIES: dict[str, type[Policy]] = {"on_policy": OnPolicy, "teacher_mixed": TeacherMixed}
EPOCHS = (1, 2, 4)
ONCE = ("rollout", "reward", "teacher")
"""Phases that a text needs once."""


class Cycles:
    """Cycles of the real loop: one writing and all updates on it; each call says seconds an update.

    Attributes:
        expected: by number of epochs, what an update would take by the phases of each cycle.
    """

    def __init__(self, policy: Policy, epochs: int, shape: Shape) -> None:
        parts = parts_of(shape)
        student, teacher = parts.sides.student, parts.sides.teacher
        assert teacher is not None
        writer = MixtureWriter(student, teacher, share=0.2)
        sampling = Sampling(max_new_tokens=shape.limit)
        mixture = WritingAuthor(writer, student, sampling, seed=0)
        parts = replace(
            parts,
            policy=policy,
            authors={**parts.authors, Author.mixture: mixture},
            objective=MiniLLM(),
            loop=LoopSettings(batch_size=len(shape.lengths), inner_epochs=epochs),
        )
        self._ends, self._epochs = Ends(shape, student.end_id), epochs
        self._updates = distil(parts, build_optimizer(parts))
        self.expected: list[dict[int, float]] = []

    def __call__(self) -> float:
        with preset_lengths(self._ends):
            start = time.perf_counter()
            updates = [next(self._updates) for _ in range(self._epochs)]
            seconds = (time.perf_counter() - start) / self._epochs
        self.expected.append({epochs: _expected(updates, seconds, epochs) for epochs in EPOCHS})
        return seconds


def _expected(updates: list[Update], seconds: float, epochs: int) -> float:
    once = sum(update.seconds.get(phase, 0.0) for update in updates for phase in ONCE)
    return once / epochs + seconds - once / len(updates)


def run(shape: Shape, options: Options, console: Console) -> dict[str, Any]:
    """Seconds an update, measured and expected, for every policy and number of epochs."""
    cycles = {
        (policy, epochs): Cycles(POLICIES[policy](), epochs, shape)
        for policy in POLICIES
        for epochs in EPOCHS
    }
    runs: dict[str, Callable[[], float]] = {_label(*key): cycles[key] for key in cycles}
    times = alternate(runs, rounds=options.rounds)
    notes: dict[str, Any] = {}
    rows: dict[str, dict[str, str]] = {}
    for policy, epochs in cycles:
        name = _label(policy, epochs)
        kept = cycles[policy, 1].expected[-options.rounds :]
        expected = [each[epochs] for each in kept]
        over = [left / right for left, right in zip(times[name], expected, strict=True)]
        notes[name] = {"seconds": times[name], "expected": expected}
        rows[name] = {
            "an update, s": f"{quartiles(times[name])[1]:.3f}",
            "expected, s": f"{quartiles(expected)[1]:.3f}",
            "over expected": f"{quartiles(over)[1]:.2f}",
        }
    plain_table("minillm: an update with writing, by inner epochs", rows, console)
    return notes


def _label(policy: str, epochs: int) -> str:
    return f"{policy}, {epochs}"
