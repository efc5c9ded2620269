"""``distillkit train``: assemble, claim the directory, distil, measure, leave a student behind."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from distillkit.compose import Composed
from distillkit.core.errors import RunError
from distillkit.core.files import new_folder, write_json_lines
from distillkit.core.provenance import provenance
from distillkit.core.rundir import WAY_OUT, RunDirectory
from distillkit.core.shapes import Baselines, Verdict
from distillkit.core.spec import name_of
from distillkit.core.stopping import stopping
from distillkit.core.terminal import terminal
from distillkit.evaluation.quality import Quality
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.programs.train.assemble import assemble
from distillkit.programs.train.budget import budget_line, budget_of
from distillkit.programs.train.continuing import continuation
from distillkit.programs.train.extending import extend, settle
from distillkit.programs.train.fields import check_fields
from distillkit.programs.train.picture import draw_curves
from distillkit.programs.train.screen import screen
from distillkit.programs.train.session import Job, Session
from distillkit.programs.train.standing import (
    BASELINES,
    JOURNALS,
    VERDICTS,
    Standing,
    where_it_stands,
)
from distillkit.programs.train.table import closing_table, numbers
from distillkit.run import TrainRun
from distillkit.training.checkpoint import BEST, load_weights
from distillkit.training.display import Display


def train(composed: Composed, *, console: Console | None = None) -> RunDirectory:
    """Run, resume, or show the result of a run that is already done.

    Raises:
        DistillkitError: something the user has to mend.
        Interrupted: a stop was asked for; the state is saved.
    """
    console = console or terminal()
    run: TrainRun = composed.run
    check_fields(run, composed.overrides)
    directory = directory_of(composed)
    settle(directory.path)
    plan = continuation(directory, composed)
    if plan is None and (done := directory.summary) is not None:
        console.print(f"already done: {directory.path}", soft_wrap=True)
        for note in directory.notes:
            console.print(f"note: {note}", soft_wrap=True)
        console.print(closing_table(done))
        console.print(budget_line(done), soft_wrap=True)
        return directory
    parts = assemble(run)
    parts = replace(parts, notes=(*parts.notes, *screen(run, parts, directory.path)))
    record = {**provenance(), "device": str(parts.sides.student.device), "seed": run.seed}
    if plan is not None:
        extend(directory, plan, composed, record)
    with stopping() as stop, directory.claim(**composed.asked(), provenance=record) as notes:
        parts = replace(parts, notes=(*parts.notes, *notes))
        standing = where_it_stands(directory, parts.train, fingerprint=composed.fingerprint)
        _train_inside(composed, Job(run, parts, directory, stop), standing, console)
    return directory


def directory_of(composed: Composed) -> RunDirectory:
    """Where a run lives: its name, or one of policy, divergence or objective, and fingerprint."""
    run: TrainRun = composed.run
    objective = run.objective
    used = objective.divergence if type(objective) is DivergenceObjective else objective
    name = run.name or f"{name_of(run.policy)}-{name_of(used)}-{composed.fingerprint[:8]}"
    return RunDirectory(Path(run.output) / "train" / name)


def _train_inside(composed: Composed, job: Job, standing: Standing, console: Console) -> None:
    run, directory = job.run, job.directory
    display = Display(console, steps=run.steps, log=directory.path / "log.txt")
    display.say(f"run directory {directory.path}")
    for note in job.parts.notes:
        display.say(f"note: {note}")
    before = _baselines(job)
    failed = True
    tracked = run.tracker.start(
        folder=directory.path,
        name=directory.path.name,
        identity=composed.fingerprint,
        config=composed.config,
        say=display.say,
    )
    final: dict[str, float] = {}
    try:
        session = Session(job, standing=standing, display=display, tracked=tracked)
        session.train()
        summary = _close(job, session, before)
        summary["fingerprint"] = composed.fingerprint
        final = {f"test/{key}": value for key, value in summary["student_after"].items()}
        draw_curves(directory.path / "metrics.jsonl", summary, directory.path / "curves.png")
        directory.finish(summary, leaves=(directory.student.name, BEST, VERDICTS, *JOURNALS))
        failed = False
    finally:
        tracked.finish(final, failed=failed)
    if summary["student_after"]:
        console.print(closing_table(summary))
    display.say(budget_line(summary))
    display.say(f"student  {directory.student}\ncurves   {directory.path / 'curves.png'}")


def _baselines(job: Job) -> Mapping[str, dict[str, float]]:
    """The student before and the teacher, measured once and kept for a resumed run."""
    found: Mapping[str, dict[str, float]] = job.directory.kept(
        BASELINES,
        lambda: {
            "student_before": numbers(job.measured(job.parts.sides.student)),
            "teacher": numbers(job.measured(job.parts.sides.teacher)),
        },
        shape=Baselines,
    )
    return found


def _close(job: Job, session: Session, before: Mapping[str, dict[str, float]]) -> dict[str, Any]:
    run, directory, student = job.run, job.directory, job.parts.sides.student
    selection = "last"
    best = directory.path / BEST
    if run.checkpoint.export == "best":
        if not best.is_file():
            raise RunError(
                "checkpoint.export=best needs validations: set evaluation.every above 0."
            )
        load_weights(student, best, way_out=WAY_OUT)
        selection = f"best-by-validation (step {session.progress.best_step})"
    with job.parts.placement.whole(student.module), new_folder(directory.student) as folder:
        student.save(folder)
    final = job.measured(student)
    if isinstance(final, Quality):
        write_json_lines(directory.path / VERDICTS, _verdicts(final))
    return {
        "name": directory.path.name,
        "steps": run.steps,
        "split": "test",
        "selection": selection,
        "training_seconds": round(session.seconds, 1),
        "writing_seconds": round(session.kept_text.seconds, 1),
        "budget": budget_of(job, kept_tokens=session.kept_text.tokens),
        "student_before": before["student_before"],
        "student_after": numbers(final),
        "teacher": before["teacher"],
    }


def _verdicts(quality: Quality) -> Iterator[Verdict]:
    for item in quality.answers:
        if item.correct is not None:
            yield {"split": "test", "id": item.example.id, "student": item.correct}
