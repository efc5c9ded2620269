"""What a training was given and what it used: labels, prompts, the teacher's tokens, seconds."""

from collections.abc import Mapping, Sequence
from typing import Any

from distillkit.core.reading import read_json_lines
from distillkit.core.rundir import WAY_OUT
from distillkit.core.shapes import Budget
from distillkit.core.types import Author
from distillkit.metrics.references import references
from distillkit.programs.train.assemble import Assembled
from distillkit.programs.train.session import Job
from distillkit.programs.train.standing import METRICS
from distillkit.run import TrainRun
from distillkit.training.settings import LoopSettings


def budget_of(job: Job, *, kept_tokens: int) -> Budget:
    """The budget of a finished training, whose metrics are all written.

    Args:
        job: the training.
        kept_tokens: that the teacher wrote before the first update.
    """
    run, parts = job.run, job.parts
    authors = run.policy.may_write()
    rows = read_json_lines(job.directory.path / METRICS, dict[str, float], way_out=WAY_OUT)
    written = _tokens(rows, run.loop)
    return Budget(
        gold_labels=_gold_labels(run, parts),
        prompts=len(parts.train),
        teacher_wrote=kept_tokens + (written if Author.mixture in authors else 0),
        teacher_read=written if run.objective.needs_teacher() else 0,
    )


def _gold_labels(run: TrainRun, parts: Assembled) -> int:
    if parts.judge is not None and run.reward.reads_labels():
        return sum(bool(references(each) or each.answer) for each in parts.train)
    if Author.dataset in run.policy.may_write():
        return sum(each.teaches for each in parts.train)
    return 0


def _tokens(rows: Sequence[Mapping[str, Any]], loop: LoopSettings) -> int:
    """Response tokens of all updates, those of inner epochs once."""
    return sum(
        int(row["tokens"])
        for row in rows
        if "tokens" in row and (int(row["step"]) - 1) % loop.span < loop.collect
    )


COSTS = ("labels", "prompts", "teacher wrote", "teacher read", "s")
"""Headings of what :func:`costs_of` gives."""


def costs_of(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """A summary's budget and seconds as cells of a table; earlier versions wrote none."""
    budget, seconds = summary.get("budget"), summary.get("training_seconds")
    told = [f"{number:,}" for number in budget.values()] if budget else ["-"] * (len(COSTS) - 1)
    return (*told, "-" if seconds is None else f"{seconds:.0f}")


def budget_line(summary: Mapping[str, Any]) -> str:
    """The same in words; a teacher that neither wrote nor read is not spoken of."""
    if "budget" not in summary:
        return "budget   not known: an earlier version made this run"
    labels, prompts, wrote, read, seconds = costs_of(summary)
    idle = wrote == read == "0"
    teacher = "" if idle else f"teacher wrote {wrote} and read {read} tokens, "
    return f"budget   {labels} gold labels, {prompts} prompts, {teacher}{seconds} s of training"
