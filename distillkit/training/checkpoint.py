"""Checkpoints: all that the next step depends on, written whole or not at all.

Random draws are functions of the seed and the step, the learning rate of the step, the order of
the data of seed and step; so weights, optimiser, step and journal lengths are the whole state, and
rollouts that more than one step learns from.
"""

import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file

from distillkit.core.files import new_folder, second_name
from distillkit.core.reading import damaged, read_with
from distillkit.core.sealed import check_digests, digests_of, read_sealed, write_sealed
from distillkit.core.shapes import CheckpointRecord
from distillkit.core.types import Rollout
from distillkit.distributed.placement import ALONE, Placement
from distillkit.models.language_model import LanguageModel
from distillkit.training.rollout_file import save_rollouts
from distillkit.training.weights import below, gathered, load_weights

WEIGHTS, MOMENTS, PROGRESS = "student.safetensors", "optimizer.pt", "progress.json"
"""Files that every checkpoint has; where processes held parts, those instead of the first two."""

PARTS = "parts"
"""Folder of the weights and moments that each process held."""

BEST = "best.safetensors"
"""File of the best weights until then, by validation."""

ROLLOUTS = "rollouts.jsonl"
"""File of the rollouts that the next step learns from too."""

WAY_OUT = "Delete that folder to resume from the one before it, or the run directory to start anew."

NAME = re.compile(r"step-([0-9]{6,})")


@dataclass(kw_only=True, slots=True)
class Progress:
    """Where a run stands."""

    step: int = 0
    """Updates done."""
    best_score: float | None = None
    """Best validation score so far, higher is better; None before the first."""
    best_step: int | None = None
    """Step of that score."""
    journals: dict[str, int] = field(default_factory=dict)
    """Length in bytes of each journal at this point, by file name."""
    digests: dict[str, str] = field(default_factory=dict)
    """SHA-256 of so much of each of them."""
    fingerprint: str | None = ""
    """Of the run; None in a checkpoint of an earlier version."""
    layouts: list[str] = field(default_factory=list)
    """How weights and rows were dealt out over processes, and from which step on: where it is as
    before, a run goes on to the byte."""
    seconds: float = 0.0
    """Spent in the loop, by all processes one after another."""
    costs: dict[str, float] = field(default_factory=dict)
    """Of asking the teacher until then."""


def save_checkpoint(
    folder: Path,
    *,
    student: LanguageModel,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    rollouts: Sequence[Rollout] = (),
    best: Path | None = None,
    more: Callable[[Path], None] | None = None,
    placement: Placement = ALONE,
) -> Path:
    """Write ``folder/step-000500`` and return it; called by all processes.

    Args:
        folder: of all checkpoints.
        student: its weights.
        optimizer: its moments.
        progress: where the run stands.
        rollouts: those that the next step learns from too; who wrote them is gone by then.
        best: file of the best weights until now, which a later step may replace.
        more: writes further files into the folder.
        placement: the processes; where they hold parts of the student, each writes its own.
    """
    target, sharded = folder / f"step-{progress.step:06d}", student.in_parts

    def write(partial: Path) -> None:
        if not sharded:
            save_file(gathered(student), partial / WEIGHTS, metadata=below(student))
            # Given a path instead, torch says of a full disk only that a position is unexpected.
            with (partial / MOMENTS).open("wb") as file:
                torch.save(optimizer.state_dict(), file)
        if rollouts:
            save_rollouts(partial / ROLLOUTS, rollouts)
        if best is not None:
            second_name(best, partial / BEST)
        if more is not None:
            more(partial)
        files = digests_of(partial, sorted(file.name for file in partial.iterdir()))
        write_sealed(partial / PROGRESS, {**asdict(progress), "files": files})

    with placement.led(lambda: new_folder(target)) as partial:
        if sharded:
            from distillkit.distributed.state import save_shards

            save_shards(partial / PARTS, student.module, optimizer)
        placement.told(lambda: write(partial))
    return target


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint of the highest step, or None."""
    found = _by_step(folder)
    return found[-1] if found else None


def _by_step(folder: Path) -> list[Path]:
    named = [path for path in folder.glob("step-*") if NAME.fullmatch(path.name)]
    return sorted(named, key=step_of)


def step_of(path: Path) -> int:
    """The step that a checkpoint's name says."""
    return int(path.name.removeprefix("step-"))


def keep_newest(folder: Path, count: int) -> None:
    """Delete all but the newest checkpoints."""
    for old in _by_step(folder)[:-count]:
        shutil.rmtree(old)


def check_checkpoint(path: Path, *, fingerprint: str, old: bool) -> Progress:
    """Compare all of a checkpoint with its record, and return where the run stood.

    Args:
        path: the checkpoint.
        fingerprint: of the run.
        old: whether it may be of an earlier version, which recorded less.

    Raises:
        RunError: it is another run's, or a file is missing, new, or not what was written.
    """
    standing = read_sealed(path / PROGRESS, CheckpointRecord, old=old, way_out=WAY_OUT)
    files = standing.pop("files")
    owner = standing.setdefault("fingerprint", None if old else "")
    if owner is not None and owner != fingerprint:
        raise damaged(path, f"it is another run's, of fingerprint {owner}", way_out=WAY_OUT)
    if standing["step"] != step_of(path):
        why = f"{PROGRESS} says step {standing['step']}"
        raise damaged(path, why, way_out=WAY_OUT)
    in_parts = any(name.startswith(f"{PARTS}/") for name in files)
    for name in () if in_parts else (WEIGHTS, MOMENTS):
        if name not in files:
            raise damaged(path, f"{PROGRESS} has no digest of {name}", way_out=WAY_OUT)
    there = {file.name for file in path.iterdir()} - {PROGRESS}
    check_digests(path, files, names=there | files.keys(), way_out=WAY_OUT)
    known = (each.name for each in fields(Progress))
    return Progress(**{name: standing[name] for name in known if name in standing})


def load_checkpoint(
    path: Path,
    *,
    student: LanguageModel,
    optimizer: torch.optim.Optimizer,
    placement: Placement = ALONE,
) -> None:
    """Put the state of a checkpoint that was checked into the student and the optimiser.

    Called by all processes, whatever layout they or those had who wrote it.

    Raises:
        RunError: it does not fit them.
    """
    if not (path / WEIGHTS).is_file():
        from distillkit.distributed.state import load_shards

        parts = path / PARTS
        _fitting(parts, lambda: load_shards(parts, student.module, optimizer))
        return
    load_weights(student, path / WEIGHTS, way_out=WAY_OUT, placement=placement)
    sharded, read = student.in_parts, partial(torch.load, weights_only=True)
    reads = placement.chief or not sharded
    state = placement.together(
        lambda: read_with(read, path / MOMENTS, way_out=WAY_OUT) if reads else {}
    )
    if sharded:
        from distillkit.distributed.state import deal_out_moments

        _fitting(path / MOMENTS, lambda: deal_out_moments(student.module, optimizer, state))
    else:
        _fitting(path / MOMENTS, lambda: optimizer.load_state_dict(state))


def _fitting(file: Path, put: Callable[[], None]) -> None:
    """Put a state where it belongs; one of another model is a damaged file."""
    try:
        put()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(file, str(error), way_out=WAY_OUT) from error


def restore_best(path: Path, target: Path) -> None:
    """Have the best weights be those of a checkpoint; a stopped process may have left later ones.

    Args:
        path: the checkpoint.
        target: the file of the best weights.
    """
    if (path / BEST).is_file():
        again = target.with_name(f".{target.name}.partial")
        with suppress(FileNotFoundError):
            again.unlink()
        second_name(path / BEST, again)
        again.replace(target)
