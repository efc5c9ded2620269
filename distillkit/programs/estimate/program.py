"""``distillkit estimate``: one batch of a training, and what cheaper estimators make of it."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from distillkit.compose import Composed
from distillkit.core.errors import ConfigError
from distillkit.core.files import made_folder, new_file, write_json
from distillkit.core.seeds import child_seed
from distillkit.core.spec import name_of
from distillkit.core.stopping import Stop, stopping
from distillkit.core.terminal import terminal
from distillkit.core.types import Rollout
from distillkit.evaluation.cheaper import Estimates, Plan, Reading
from distillkit.evaluation.tally import EstimateRow
from distillkit.models.language_model import evaluating
from distillkit.objectives.base import Objective
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.opinions.base import OnlyReads
from distillkit.programs.estimate.picture import draw_estimate
from distillkit.programs.estimate.policy import estimate_policy
from distillkit.programs.estimate.table import estimate_table
from distillkit.programs.train.assemble import Assembled, assemble
from distillkit.programs.train.authors import ready_authors
from distillkit.programs.train.fields import check_fields
from distillkit.programs.train.foreign import foreign_support
from distillkit.programs.train.program import directory_of
from distillkit.run import TrainRun
from distillkit.training.authors import write_rollouts
from distillkit.training.collection import asked
from distillkit.training.sampler import Pool
from distillkit.training.step import micro_batches

GRADIENT = (
    "with respect to the student's last hidden states [N, D] at the packed positions, through "
    "its head, of the batch's weighted sum; dropout off"
)
"""Which gradient is meant; part of the file."""


def plan_of(*, k: str, draws: str, repeats: int) -> Plan:
    """A plan from its options as they are typed.

    Raises:
        ConfigError: they are no whole numbers, or out of range.
    """
    return Plan(k=_whole(k, "k"), draws=_whole(draws, "draws"), repeats=repeats)


def _whole(text: str, option: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(
            f"--{option} takes whole numbers with commas between, got {text!r}. "
            f"Give some as in --{option} 1,4,16."
        ) from None


@dataclass(frozen=True, slots=True)
class Estimate:
    """One comparison: the rows, and what they were made of."""

    rows: Sequence[EstimateRow]
    rollouts: Sequence[Rollout]
    seconds: float


def estimate(
    composed: Composed, plan: Plan | None = None, *, console: Console | None = None
) -> Path:
    """Compare on the first batch that training would see; print a table, leave JSON and PNG.

    Raises:
        DistillkitError: something the user has to mend.
        Interrupted: a stop was asked for.
    """
    console, plan = console or terminal(), plan or Plan()
    run: TrainRun = composed.run
    check_fields(run, composed.overrides)
    objective = run.objective
    # KD has a divergence too, and makes more of it than its weighted sum.
    if type(objective) is not DivergenceObjective and not objective.POLICY_GRADIENT:
        raise ConfigError(
            f"objective={name_of(objective)} is no divergence alone and no policy gradient, so "
            "there is nothing to estimate. Use objective=divergence."
        )
    if (support := foreign_support(run)) is not None:
        raise ConfigError(
            f"support={name_of(support)} is for a teacher of another tokenizer, and estimators are "
            "compared on one vocabulary. Use support=full and a teacher of the student's family."
        )
    if isinstance(run.teacher, OnlyReads):
        _check_reader(run.teacher, objective)
    # Nothing is validated here, so no other split is read.
    run = replace(run, evaluation=replace(run.evaluation, every=0, test=0))
    parts = assemble(run)
    folder = made_folder(Path(run.output) / "estimate", choose="output=...")
    for note in parts.notes:
        console.print(f"note: {note}", soft_wrap=True)
    file = folder / f"{directory_of(composed).path.name}.json"
    if objective.POLICY_GRADIENT:
        with stopping() as stop:
            estimate_policy(
                composed, parts, repeats=plan.repeats, console=console, stop=stop, file=file
            )
        return file
    assert isinstance(objective, DivergenceObjective)
    with stopping() as stop, console.status("writing and comparing"):
        found = _compare(run, objective, parts, plan=plan, console=console, stop=stop)
    result = _as_json(composed, objective, plan, found)
    write_json(file, result)
    with new_file(file.with_suffix(".png")) as picture:
        draw_estimate(found.rows, picture, title=result["divergence"])
    _show(console, result, found, file)
    return file


def _check_reader(teacher: OnlyReads, objective: Objective) -> None:
    """Refuse a teacher that is no model where an estimate needs one."""
    lacks = "writes nothing, and one of the estimators learns from text of both models"
    if not objective.POLICY_GRADIENT:
        lacks = "tells a few entries, and estimates are held against the whole distribution"
        if any(each.dense for each in teacher.gives()):
            return
    raise ConfigError(f"teacher={name_of(teacher)} {lacks}. Choose a model as the teacher.")


def _compare(
    run: TrainRun,
    objective: DivergenceObjective,
    parts: Assembled,
    *,
    plan: Plan,
    console: Console,
    stop: Stop,
) -> Estimate:
    started, student = time.monotonic(), parts.sides.student
    rollouts = _first_batch(run, parts, console=console, stop=stop)
    comparison = objective.compared()
    estimates = Estimates(
        comparison,
        student=student.head,
        chunk_mb=objective.chunk_mb,
        plan=plan,
        seed=child_seed(run.seed, "estimate"),
    )
    for batch in micro_batches(rollouts, sides=parts.sides, loop=run.loop, objective=objective):
        stop.poll()
        assert batch.opinion is not None
        with evaluating(student):
            ours = student.hidden(batch.student)
        theirs = comparison.heard(batch.opinion)
        reading = Reading(ours, theirs, batch.student.targets, batch.weights)
        estimates.add(reading, poll=stop.poll)
    return Estimate(estimates.rows(), rollouts, time.monotonic() - started)


def _first_batch(run: TrainRun, parts: Assembled, *, console: Console, stop: Stop) -> list[Rollout]:
    """The rollouts of training's first step; a teacher is asked for these prompts alone.

    Where batches are collected before they are mixed, those of the first batch of prompts.
    """
    loop = replace(run.loop, collect=1)
    named = run.policy.authors(0, loop.batch_size, steps=run.steps, seed=run.seed)
    examples = asked(Pool.of(parts.train), 0, named, loop=loop, seed=run.seed)
    each = list({example.id: example for example in examples}.values())
    authors = ready_authors(run, parts, each, poll=stop.poll, say=console.print)
    return [*write_rollouts(examples, named, authors=authors, step=0).values()]


def _as_json(
    composed: Composed, objective: DivergenceObjective, plan: Plan, found: Estimate
) -> dict[str, Any]:
    run: TrainRun = composed.run
    responses = [rollout.response for rollout in found.rollouts]
    return {
        "fingerprint": composed.fingerprint,
        "overrides": composed.overrides,
        "divergence": name_of(objective.divergence),
        "policy": name_of(run.policy),
        "seed": run.seed,
        "responses": len(responses),
        "authors": dict(Counter(str(response.author) for response in responses)),
        "tokens": sum(len(response.tokens) for response in responses),
        "gradient": GRADIENT,
        "plan": asdict(plan),
        "seconds": round(found.seconds, 2),
        "rows": [asdict(row) for row in found.rows],
    }


def _show(console: Console, result: dict[str, Any], found: Estimate, file: Path) -> None:
    authors = ", ".join(f"{count} by the {who}" for who, count in result["authors"].items())
    title = (
        f"{result['divergence']} on {result['tokens']} tokens of {result['responses']} responses "
        f"({authors})"
    )
    console.print(estimate_table(found.rows, title=title))
    lines = [
        "The gradient is that by the student's last hidden states, through its head, dropout off."
    ]
    if any(row.draws for row in found.rows):
        lines.append(
            f"k1, k2, k3: tokens of the student's own, {result['plan']['repeats']} repeats. ± is "
            "the standard error of the bias, variance that of one draw's gradient over the squared "
            "dense one; they and the expected cosine are exact, every token is counted. k1 goes by "
            "the score function, k2 and k3 are back-propagated; k3 has the value of reverse KL and "
            "the gradient of forward KL."
        )
    else:
        lines.append(
            "k1, k2 and k3 estimate reverse KL alone and are left out; divergence=reverse_kl "
            "shows them."
        )
    console.print("\n".join(lines))
    console.print(f"numbers  {file}\npicture  {file.with_suffix('.png')}", soft_wrap=True)
