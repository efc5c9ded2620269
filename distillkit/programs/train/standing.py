"""Where a run stands: all that it goes on from, checked whole before anything is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from distillkit.core.journal import kept_part
from distillkit.core.reading import damaged, parse_json_lines
from distillkit.core.rundir import WAY_OUT, RunDirectory
from distillkit.core.types import Example, Rollout
from distillkit.training.checkpoint import (
    ROLLOUTS,
    Progress,
    check_checkpoint,
    newest_checkpoint,
)
from distillkit.training.rollout_file import load_rollouts

METRICS, SAMPLES = JOURNALS = ("metrics.jsonl", "samples.jsonl")

BASELINES = "baselines.json"

VERDICTS = "verdicts.jsonl"
"""File of what each student is right on, a row an example."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a run goes on from."""

    checkpoint: Path | None
    """The newest one; None before the first."""
    progress: Progress
    """Where the run stands."""
    kept: Sequence[Rollout] = ()
    """Rollouts that the next step learns from too."""
    rows: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    """Of metrics.jsonl, up to there."""
    samples: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    """Rows of samples.jsonl, up to there."""


def where_it_stands(
    directory: RunDirectory, examples: Sequence[Example], *, fingerprint: str
) -> Standing:
    """Find the newest checkpoint, and compare it and the journals with its record.

    Nothing is written, and no model is touched.

    Args:
        directory: of the run, which holds it.
        examples: those that it trains on.
        fingerprint: of the run.

    Raises:
        RunError: something is missing, new, another run's, or has changed since it was written.
    """
    standing = checked(directory, fingerprint)
    if standing.checkpoint is None:
        return standing
    return replace(standing, kept=load_rollouts(standing.checkpoint / ROLLOUTS, examples))


def check_trainings(directory: RunDirectory) -> None:
    """Compare all trainings inside a run of several with their records; touch nothing.

    Raises:
        RunError: something is missing, new, another run's, or has changed since it was written.
    """
    for path in sorted((directory.path / "train").glob("*")):
        inside = RunDirectory(path)
        record = inside.record
        if record is None:
            inside.check(fingerprint="")
            continue
        inside.check_made()
        if inside.summary is None:
            checked(inside, record["fingerprint"])
        else:
            inside.check_left(inside.student.name)


def checked(directory: RunDirectory, fingerprint: str) -> Standing:
    """The same, less the rollouts, which need the examples.

    Raises:
        RunError: as :func:`where_it_stands`.
    """
    newest = newest_checkpoint(directory.checkpoints)
    if newest is None:
        return Standing(None, Progress(fingerprint=fingerprint))
    progress = check_checkpoint(newest, fingerprint=fingerprint, old=directory.old)
    if not directory.holds(BASELINES):
        raise damaged(directory.path, f"{BASELINES} is missing", way_out=WAY_OUT)
    parts = {
        name: kept_part(
            directory.path / name,
            progress.journals.get(name, 0),
            digest=progress.digests.get(name),
            way_out=WAY_OUT,
        )
        for name in JOURNALS
    }
    rows, samples = (
        _rows(directory.path / name, parts[name], shape)
        for name, shape in zip(JOURNALS, (dict[str, float], dict[str, Any]), strict=True)
    )
    standing = replace(progress, fingerprint=fingerprint)
    return Standing(newest, standing, rows=rows, samples=samples)


def _rows(file: Path, part: bytes, shape: Any) -> list[Any]:
    rows = parse_json_lines(part, shape, file=file, way_out=WAY_OUT)
    if any("step" not in row for row in rows):
        raise damaged(file, "a line has no step", way_out=WAY_OUT)
    return rows
