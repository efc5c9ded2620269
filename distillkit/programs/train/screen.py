"""The doctor's quick checks, which every training makes before it claims its directory."""

from pathlib import Path

from distillkit.core.errors import RunError
from distillkit.core.types import Split
from distillkit.preflight.checks import CHECKS, examine
from distillkit.preflight.finding import Severity
from distillkit.preflight.machine import Machine, this_machine
from distillkit.preflight.subject import Subject
from distillkit.programs.train.assemble import Assembled, room_needed
from distillkit.run import TrainRun


def screen(
    run: TrainRun, parts: Assembled, folder: Path, *, machine: Machine | None = None
) -> tuple[str, ...]:
    """Make the checks that need no pass through a model.

    Args:
        run: the spec tree.
        parts: its models and examples.
        folder: the run directory.
        machine: whose memory and disk are asked; this one if None.

    Returns:
        Warnings, as notes for the user.

    Raises:
        RunError: the first finding with which the run could not go on.
    """
    sides = parts.sides
    models = {"student": sides.student} | ({"teacher": sides.teacher} if sides.teacher else {})
    subject = Subject(
        run=run,
        folder=folder,
        room=room_needed(run),
        machine=machine or this_machine(),
        models=models,
        examples={Split.train: parts.train},
    )
    notes = []
    for check in CHECKS:
        for finding in examine(check, subject) if check.quick else ():
            if finding.severity is Severity.fatal:
                raise RunError(finding.sentence())
            if finding.severity is Severity.warning:
                notes.append(finding.sentence())
    return tuple(notes)
