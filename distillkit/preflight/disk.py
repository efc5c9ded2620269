"""Is there room for the checkpoints, and may they be written?"""

import os
from collections.abc import Iterator

from distillkit.preflight.finding import Finding, fatal, ok
from distillkit.preflight.machine import existing
from distillkit.preflight.sizes import size
from distillkit.preflight.subject import Subject


def place(subject: Subject) -> Iterator[Finding]:
    """The run directory, or the nearest folder above it, can be written."""
    found = existing(subject.folder)
    if found.is_dir() and os.access(found, os.W_OK):
        yield ok(f"{subject.folder} can be written")
    else:
        yield fatal(
            f"output={subject.run.output}: {found} is not a folder that can be written",
            why="nothing of the run could be kept",
            mend="Choose another place with output=...",
        )


def disk(subject: Subject) -> Iterator[Finding]:
    """Room for all that a run leaves, less what an interrupted one of this name already holds."""
    run, student = subject.run, subject.student
    whole = sum(p.numel() * p.element_size() for p in student.module.parameters())
    weights = sum(p.numel() * p.element_size() for p in student.parameters())
    moments = 2 * weights
    # A new checkpoint is written before the oldest one goes.
    checkpoints = (run.checkpoint.keep_last + 1) * (weights + moments)
    best = weights if run.evaluation.every else 0
    held = sum(file.stat().st_size for file in subject.folder.rglob("*") if file.is_file())
    needed = max(0, checkpoints + best + whole - held)
    free = subject.machine.free_disk(subject.folder)
    what = (
        f"output={run.output} needs {size(needed)}: {run.checkpoint.keep_last + 1} checkpoints of "
        f"{size(weights + moments)} and the student; {size(free)} are free"
    )
    if needed > free:
        yield fatal(
            what,
            why="the run would end when a checkpoint does not fit",
            mend="Set checkpoint.keep_last=1, free some space, or choose another place with "
            "output=...",
        )
    else:
        yield ok(what)
