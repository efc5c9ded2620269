"""A run directory made anew for more steps, the one before kept inside of it.

The new directory is made beside the old one and takes its place in two renames; whatever ends the
process in between, the next call finds either the one or the other.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from distillkit.compose import Composed
from distillkit.core.files import second_name
from distillkit.core.rundir import RunDirectory
from distillkit.core.sealed import digests_of, write_sealed
from distillkit.programs.train.continuing import Continuation, odd_validation
from distillkit.programs.train.standing import BASELINES, JOURNALS
from distillkit.training.checkpoint import BEST, PROGRESS

EARLIER = "earlier"
"""Folder in a run directory of what it was before it was continued."""


def settle(path: Path) -> None:
    """Finish the exchange of directories that a stopped process may have left."""
    beside = _beside(path)
    if not path.exists() and (beside / EARLIER).is_dir():
        beside.rename(path)


def extend(
    directory: RunDirectory, plan: Continuation, composed: Composed, provenance: Mapping[str, Any]
) -> None:
    """Put a directory that continues the run in the place of its own.

    What was left of it, with its student, summary and evaluations, lies in ``earlier/steps-000002``
    then, less its checkpoints.

    Raises:
        RunError: another process is at work in it, or it cannot be written.
    """
    held, path, beside = plan.held, directory.path, _beside(directory.path)
    kept_in = f"{EARLIER}/steps-{held.run.steps:06d}"
    before = (directory.record or {}).get("continued", [])
    link = {"fingerprint": plan.fingerprint, "steps": held.run.steps, "kept_in": kept_in}
    link["from_step"] = plan.standing.progress.step
    with directory.claim(fingerprint=plan.fingerprint, config="", overrides=[], provenance={}):
        shutil.rmtree(beside, ignore_errors=True)
        fresh = RunDirectory(beside)
        kept = {**provenance, "continued": [*before, link]}
        with fresh.claim(**composed.asked(), provenance=kept):
            _fill(fresh, directory, plan, composed.fingerprint)
        (beside / EARLIER).mkdir()
        path.rename(beside / kept_in)
        beside.rename(path)
    shutil.rmtree(path / kept_in / "checkpoints", ignore_errors=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.continued")


def _fill(fresh: RunDirectory, old: RunDirectory, plan: Continuation, fingerprint: str) -> None:
    """All that the next step depends on, as the longer run would have it here."""
    if (old.path / "log.txt").is_file():
        shutil.copyfile(old.path / "log.txt", fresh.path / "log.txt")
    if old.holds(BASELINES):
        shutil.copyfile(old.path / BASELINES, fresh.path / BASELINES)
        fresh.enter(BASELINES)
    checkpoint, progress = plan.standing.checkpoint, plan.standing.progress
    if checkpoint is None:
        return
    parts = {
        name: _part(old.path / name, progress.journals.get(name, 0), plan) for name in JOURNALS
    }
    for name, part in parts.items():
        (fresh.path / name).write_bytes(part)
    if (checkpoint / BEST).is_file():
        second_name(checkpoint / BEST, fresh.path / BEST)
    target = fresh.checkpoints / checkpoint.name
    target.mkdir(parents=True)
    files = sorted(
        file.relative_to(checkpoint).as_posix()
        for file in checkpoint.rglob("*")
        if file.is_file() and file.name != PROGRESS
    )
    for name in files:
        (target / name).parent.mkdir(exist_ok=True)
        second_name(checkpoint / name, target / name)
    standing = replace(
        progress,
        fingerprint=fingerprint,
        journals={name: len(part) for name, part in parts.items()},
        digests={name: sha256(part).hexdigest() for name, part in parts.items()},
    )
    write_sealed(target / PROGRESS, {**asdict(standing), "files": digests_of(target, files)})


def _part(journal: Path, length: int, plan: Continuation) -> bytes:
    """A journal up to the checkpoint, less a validation that only a last step has."""
    with journal.open("rb") as file:
        part = file.read(length)
    if not odd_validation(plan.held.run, plan.standing):
        return part
    last = plan.standing.progress.step
    rows = ((line, json.loads(line)) for line in part.splitlines(keepends=True))
    # A row without a loss, in either journal, is of a validation.
    return b"".join(line for line, row in rows if "loss" in row or row["step"] != last)
