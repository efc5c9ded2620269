"""``distillkit estimate`` of a policy gradient: what it expects to do, and how noisily."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Column

from distillkit.compose import Composed
from distillkit.core.clock import Clock
from distillkit.core.files import write_json
from distillkit.core.spec import name_of
from distillkit.core.stopping import Stop
from distillkit.core.terminal import cell, of_numbers, tight_table
from distillkit.core.types import Author, Rollout
from distillkit.evaluation.gradients import GradientRow, Gradients, flat
from distillkit.objectives.base import Objective
from distillkit.objectives.minillm import MiniLLM, Variant
from distillkit.objectives.reward import Baseline, RewardObjective
from distillkit.objectives.sampled_kl import SampledKL
from distillkit.policies.fixed import OnPolicy
from distillkit.policies.teacher_mixed import TeacherMixed
from distillkit.programs.train.assemble import Assembled
from distillkit.run import TrainRun
from distillkit.training.authors import AnyAuthor, authors_of, write_rollouts
from distillkit.training.collection import asked, collection_of
from distillkit.training.parts import Parts
from distillkit.training.sampler import Pool
from distillkit.training.settings import LoopSettings, Reduction
from distillkit.training.step import accumulate

WHOLE = MiniLLM(
    variant=Variant.paper, length_normalisation=False, weigh_single_step=False, clip=None
)
"""Unbiased for the reverse KL of whole responses (arXiv:2306.08543, eq. 3)."""


@dataclass(frozen=True, slots=True)
class Estimator:
    """A policy gradient under a name, and who writes what it learns from."""

    name: str
    objective: Objective
    author: Author = Author.student


def estimators_of(run: TrainRun) -> list[Estimator]:
    """The configured one, last, beside those it is best understood by; the first is unbiased."""
    configured = Estimator("as configured", run.objective, *run.policy.may_write())
    if isinstance(run.objective, RewardObjective):
        baselines = (Baseline.leave_one_out, Baseline.group, Baseline.none)
        return [
            *(
                Estimator(f"baseline {each}", replace(run.objective, baseline=each))
                for each in baselines
            ),
            configured,
        ]
    return [
        Estimator("exact term and sampled returns", WHOLE),
        Estimator("all of it sampled", replace(WHOLE, single_step=False)),
        Estimator("returns divided by length", replace(WHOLE, length_normalisation=True)),
        Estimator("the same on a mixture's text", WHOLE, Author.mixture),
        Estimator("each position alone, exact", replace(WHOLE, gamma=0.0)),
        Estimator("each position alone, sampled", SampledKL()),
        configured,
    ]


def estimate_policy(
    composed: Composed, parts: Assembled, *, repeats: int, console: Console, stop: Stop, file: Path
) -> None:
    """Draw the first batch's text again and again, print a table, and leave JSON.

    Args:
        composed: a training whose objective is a policy gradient.
        parts: its models and examples.
        repeats: draws of the batch, at least 2.
        console: where to print.
        stop: asked between draws.
        file: the JSON to write.
    """
    run: TrainRun = composed.run
    started, found = time.monotonic(), estimators_of(run)
    loop = replace(run.loop, reduction=Reduction.sequence_sum, collect=1, inner_epochs=1)
    made = _parts(run, parts, loop)
    gradients = Gradients([each.name for each in found])
    for repeat in range(repeats):
        texts = {
            author: _drawn(made, author, repeat)
            for author in sorted({each.author for each in found})
        }
        drawn = {}
        for each in found:
            stop.poll()
            drawn[each.name] = _gradient(made, each.objective, texts[each.author])
        gradients.add(drawn)
        console.print(f"drawn {repeat + 1} of {repeats}")
    rows = gradients.rows()
    result = {
        "fingerprint": composed.fingerprint,
        "overrides": composed.overrides,
        "objective": name_of(run.objective),
        "policy": name_of(run.policy),
        "seed": run.seed,
        "responses": loop.batch_size,
        "repeats": repeats,
        "gradient": "with respect to all parameters, of the mean of each response's sum",
        "seconds": round(time.monotonic() - started, 2),
        "rows": [asdict(row) for row in rows],
    }
    write_json(file, result)
    _show(console, result, rows, found, file)


def _parts(run: TrainRun, parts: Assembled, loop: LoopSettings) -> Parts:
    examples = asked(Pool.of(parts.train), 0, (), loop=loop, seed=run.seed)
    mixed = run.policy if run.policy.mixing() is not None else TeacherMixed()
    policies = [OnPolicy(), *([] if parts.sides.teacher is None else [mixed])]
    authors: dict[Author, AnyAuthor] = {}
    for policy in policies:
        authors |= authors_of(
            policy,
            sides=parts.sides,
            writer=run.writer.open(parts.sides.student),
            sampling=run.rollout,
            seed=run.seed,
        )
    return Parts(
        sides=parts.sides,
        pool=Pool.of(examples),
        policy=run.policy,
        authors=authors,
        # Asks for the teacher's opinion of all tokens.
        objective=run.objective if isinstance(run.objective, RewardObjective) else WHOLE,
        loop=loop,
        optimizer=run.optimizer,
        seed=run.seed,
        steps=1,
        judge=parts.judge,
    )


def _drawn(parts: Parts, author: Author, repeat: int) -> Sequence[Rollout]:
    examples = parts.pool.examples
    named = [author] * len(examples)
    written = write_rollouts(examples, named, authors=parts.authors, step=repeat)
    return collection_of(parts, 0, written, clock=Clock()).rollouts


def _gradient(parts: Parts, objective: Objective, rollouts: Sequence[Rollout]) -> torch.Tensor:
    """The gradient of all parameters [P]; none is left behind."""
    student = parts.sides.student
    student.learn(dropout=False)
    accumulate(rollouts, sides=parts.sides, objective=objective, loop=parts.loop)
    found = [
        torch.zeros_like(each) if each.grad is None else each.grad for each in student.parameters()
    ]
    gradient = flat(found)
    student.module.zero_grad(set_to_none=True)
    return gradient


def _show(
    console: Console,
    result: dict[str, Any],
    rows: Sequence[GradientRow],
    found: Sequence[Estimator],
    file: Path,
) -> None:
    title = (
        f"{result['objective']} on {result['responses']} responses, drawn {result['repeats']} times"
    )
    columns = of_numbers("text by", "noise of\none batch", "expected\nlength", "cosine")
    table = tight_table(title, Column(no_wrap=True), *columns)
    for row, each in zip(rows, found, strict=True):
        numbers = (row.noise, row.length, row.cosine)
        shown = [cell(number, ".3g", absent="-") for number in numbers]
        table.add_row(row.estimator, str(each.author), *shown)
    console.print(table)
    console.print(
        "Of the gradient of all parameters, dropout off: its standard deviation, the length of its "
        "expectation, and the cosine between that and the first line's, which is unbiased. A - is "
        "hidden by noise; raise --repeats."
    )
    console.print(f"numbers  {file}", soft_wrap=True)
