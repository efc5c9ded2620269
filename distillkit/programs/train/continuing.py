"""More steps for a run that is there: asked for by its name, or by ``train resume=<run> steps=``.

A run is continued where all that was done would have been done alike by the longer one, so that it
ends as that would have, bit for bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from distillkit.compose import Composed, reopen
from distillkit.core.rundir import RunDirectory
from distillkit.core.spec import name_of
from distillkit.programs.train.differences import (
    Differences,
    check_same,
    differences,
    other_configuration,
)
from distillkit.programs.train.standing import Standing, checked
from distillkit.run import TrainRun
from distillkit.training.schedule import learning_rate, warm_updates
from distillkit.training.settings import Export, Shape

FREE = ("steps", "optimizer.schedule", "optimizer.warmup", "optimizer.decay", "optimizer.floor")
"""Fields that may differ where they change nothing of what was done."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """A run to be continued."""

    held: Composed
    """The configuration of its directory."""
    fingerprint: str
    """Of that, as recorded."""
    standing: Standing
    """How far it went."""


def continuation(directory: RunDirectory, composed: Composed) -> Continuation | None:
    """What is to be continued for a run; None where its directory is free or its own.

    Raises:
        RunError: the directory holds another configuration that this one does not continue, or is
            damaged.
    """
    record = directory.record
    found: Differences = {}
    if record is not None and record["fingerprint"] != composed.fingerprint:
        found = differences(directory, composed)
    if record is None or "steps" not in found or not found.keys() <= set(FREE):
        check_same(directory, composed)
        return None
    directory.check_made()
    # Whether code of strangers may run was asked of the run that is the same in this.
    held = reopen(directory.path, trusted=True)
    standing = checked(directory, record["fingerprint"])
    why = why_not(held.run, composed.run, standing)
    if directory.old:
        why = "A version of distillkit made it that kept no digests, so it is not continued."
    if why:
        raise other_configuration(directory, found, why=why)
    return Continuation(held, record["fingerprint"], standing)


def why_not(held: TrainRun, asked: TrainRun, standing: Standing) -> str:
    """Why the one run does not continue the other, as a sentence; empty where it does."""
    done = standing.progress.step
    if asked.steps < held.steps:
        return "A run can be made longer, not shorter."
    for step in range(done):
        if _rate(held, step) != _rate(asked, step):
            return _why_rates_differ(held, asked, done)
        if _authors(held, step) != _authors(asked, step):
            return (
                f"It cannot be continued: policy={name_of(held.policy)} chose who writes by the "
                f"share of {held.steps} steps that was done."
            )
    best = standing.progress.best_step == done and asked.checkpoint.export is Export.best
    if best and odd_validation(held, standing):
        return (
            f"It cannot be continued: checkpoint.export=best chose step {done}, which was "
            "validated only because it was the last."
        )
    return ""


def odd_validation(held: TrainRun, standing: Standing) -> bool:
    """Whether the last step of a run was validated for being the last alone."""
    every, done = held.evaluation.every, standing.progress.step
    return bool(every) and done == held.steps and done % every != 0


def _rate(run: TrainRun, step: int) -> float:
    return learning_rate(step, steps=run.steps, settings=run.optimizer)


def _authors(run: TrainRun, step: int) -> Sequence[object]:
    if step % run.loop.span:
        return ()
    count = run.loop.prompts * run.loop.group
    return run.policy.authors(step, count, steps=run.steps, seed=run.seed)


def _why_rates_differ(held: TrainRun, asked: TrainRun, done: int) -> str:
    shape = held.optimizer.schedule
    if shape not in (Shape.constant, Shape.wsd):
        return (
            f"It cannot be continued: optimizer.schedule={shape} has let the learning rate fall "
            f"over {held.steps} steps. Only constant, and wsd before its decay, can go on."
        )
    warm, other = (warm_updates(run.steps, run.optimizer) for run in (held, asked))
    stable = held.optimizer.lr
    if done > warm and _rate(held, done - 1) != stable:
        begun = next(step for step in range(warm, done) if _rate(held, step) != stable)
        return (
            f"It cannot be continued: optimizer.schedule=wsd began to decay at step {begun + 1} of "
            f"{held.steps}, and {done} are done."
        )
    if warm != other:
        return (
            f"It cannot be continued so: the warm-up is a share of all steps, {warm} there and "
            f"{other} here. Add optimizer.warmup={share_of(warm, asked.steps)}, as "
            "resume=<run directory> does by itself."
        )
    return "It cannot be continued: the learning rate of what was done would have been another."


def share_of(updates: int, steps: int) -> float:
    """The shortest number that stands for so many updates as a share of all steps."""
    for places in range(2, 18):
        share = round(updates / steps, places)
        if round(share * steps) == updates:
            return share
    raise AssertionError(f"{updates} of {steps}")
