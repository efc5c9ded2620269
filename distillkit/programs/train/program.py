"""``distillkit train``: assemble, claim the directory, distil, measure, leave a student behind."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from distillkit.compose import Composed
from distillkit.core.errors import RunError
from distillkit.core.files import write_json_lines
from distillkit.core.provenance import provenance
from distillkit.core.rundir import WAY_OUT, RunDirectory
from distillkit.core.shapes import Baselines, Verdict
from distillkit.core.spec import name_of
from distillkit.core.stopping import stopping
from distillkit.core.terminal import terminal
from distillkit.evaluation.quality import Quality
from distillkit.models import library
from distillkit.models.loading import pick_device
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.programs.train.assemble import assemble
from distillkit.programs.train.budget import budget_line, budget_of
from distillkit.programs.train.continuing import continuation
from distillkit.programs.train.extending import extend, settle
from distillkit.programs.train.fields import check_fields
from distillkit.programs.train.picture import draw_curves
from distillkit.programs.train.screen import screen
from distillkit.programs.train.session import Job, Session
from distillkit.programs.train.spending import costs_line
from distillkit.programs.train.standing import (
    BASELINES,
    JOURNALS,
    VERDICTS,
    Standing,
    where_it_stands,
)
from distillkit.programs.train.table import closing_table, numbers
from distillkit.report.costs import price_of_a_point
from distillkit.run import TrainRun
from distillkit.training.checkpoint import BEST
from distillkit.training.display import Display
from distillkit.training.tracker import NoTracker
from distillkit.training.weights import export, load_weights


def train(composed: Composed, *, console: Console | None = None) -> RunDirectory:
    """Run, resume, or show the result of a run that is already done.

    Raises:
        DistillkitError: something the user has to mend.
        Interrupted: a stop was asked for; the state is saved.
    """
    console = console or terminal()
    run: TrainRun = composed.run
    check_fields(run, composed.overrides)
    directory, placement = directory_of(composed), run.placement.open(pick_device(run.device))
    if placement.told(lambda: _was_done(directory, composed, console)):
        return directory
    # A run goes on with the products that it began with, in all of its processes.
    products = placement.told(lambda: library.settle((directory.record or {}).get("products")))
    library.settle(products)
    parts = assemble(run, placement)
    parts = replace(parts, notes=(*parts.notes, *screen(run, parts, directory.path)))
    device, layout = str(parts.sides.student.device), placement.layout
    record = {
        **provenance(),
        "device": device,
        "layout": layout,
        "products": products,
        "seed": run.seed,
    }
    reader = parts.sides.reader
    if reader is not None and reader.identity:
        record["reader"] = dict(reader.identity)
    # Before the directory is made anew, with the reader that there is now.
    other = placement.told(lambda: _other_reader(directory, record))
    placement.told(lambda: _continue(directory, composed, record))
    with (
        stopping() as stop,
        placement.led(lambda: directory.claim(**composed.asked(), provenance=record)) as notes,
    ):
        parts = replace(parts, notes=(*parts.notes, *notes, *other))
        standing = placement.told(
            lambda: where_it_stands(directory, parts.train, fingerprint=composed.fingerprint)
        )
        _train_inside(composed, Job(run, parts, directory, stop), standing, console)
    return directory


def _was_done(directory: RunDirectory, composed: Composed, console: Console) -> bool:
    """Whether there is nothing left to do; then its result is shown."""
    settle(directory.path)
    if continuation(directory, composed) is not None or (done := directory.summary) is None:
        return False
    console.print(f"already done: {directory.path}", soft_wrap=True)
    for note in directory.notes:
        console.print(f"note: {note}", soft_wrap=True)
    console.print(closing_table(done))
    for line in _costs(done):
        console.print(line, soft_wrap=True)
    return True


def _continue(directory: RunDirectory, composed: Composed, record: Mapping[str, Any]) -> None:
    """Make the directory anew where it holds a shorter run that this one goes on with."""
    if (plan := continuation(directory, composed)) is not None:
        extend(directory, plan, composed, record)


def _other_reader(directory: RunDirectory, record: Mapping[str, Any]) -> list[str]:
    """A note where a run goes on with another reader than it began with."""
    begun, now = (directory.record or {}).get("reader", {}), record.get("reader", {})
    return [
        f"the run began with {name} {begun[name]} of the teacher, and goes on with {now[name]}"
        for name in begun.keys() & now.keys()
        if begun[name] != now[name]
    ]


def directory_of(composed: Composed) -> RunDirectory:
    """Where a run lives: its name, or one of policy, divergence or objective, and fingerprint."""
    run: TrainRun = composed.run
    objective = run.objective
    used = objective.divergence if type(objective) is DivergenceObjective else objective
    name = run.name or f"{name_of(run.policy)}-{name_of(used)}-{composed.fingerprint[:8]}"
    return RunDirectory(Path(run.output) / "train" / name)


def _train_inside(composed: Composed, job: Job, standing: Standing, console: Console) -> None:
    log = job.directory.path / "log.txt" if job.parts.placement.chief else None
    with closing(Display(console, steps=job.run.steps, log=log)) as display:
        display.say(f"run directory {job.directory.path}")
        for note in job.parts.notes:
            display.say(f"note: {note}")
        before = _baselines(job, display.say)
        summary = _tracked(composed, job, standing, before, display)
        if summary["student_after"]:
            console.print(closing_table(summary))
        for line in _costs(summary):
            display.say(line)
        left = job.directory
        display.say(f"student  {left.student}\ncurves   {left.path / 'curves.png'}")


def _tracked(
    composed: Composed,
    job: Job,
    standing: Standing,
    before: Mapping[str, dict[str, float]],
    display: Display,
) -> dict[str, Any]:
    """Train, measure and leave the student, before a tracker's eyes; the summary."""
    run, directory, placement = job.run, job.directory, job.parts.placement
    failed = True
    tracker = run.tracker if placement.chief else NoTracker()
    tracked = tracker.start(
        folder=directory.path,
        name=directory.path.name,
        identity=composed.fingerprint,
        config=composed.config,
        say=display.say,
    )
    final: dict[str, float] = {}
    try:
        session = Session(job, standing=standing, display=display, tracked=tracked)
        with closing(session):
            session.train()
        summary = _close(job, session, before, display.say)
        summary["fingerprint"] = composed.fingerprint
        final = {f"test/{key}": value for key, value in summary["student_after"].items()}
        costs = summary.get("teacher_costs", {})
        final |= {f"teacher/{key}": value for key, value in costs.items()}
        if (each := price_of_a_point(summary)) is not None:
            final["teacher/price_a_point"] = each
        placement.told(lambda: _finish(directory, summary))
        failed = False
        return summary
    finally:
        tracked.finish(final, failed=failed)


def _costs(summary: Mapping[str, Any]) -> list[str]:
    return [budget_line(summary), *filter(None, [costs_line(summary)])]


def _finish(directory: RunDirectory, summary: Mapping[str, Any]) -> None:
    draw_curves(directory.path / "metrics.jsonl", summary, directory.path / "curves.png")
    directory.finish(summary, leaves=(directory.student.name, BEST, VERDICTS, *JOURNALS))


def _baselines(job: Job, say: Callable[[str], None]) -> Mapping[str, dict[str, float]]:
    """The student before and the teacher, measured once and kept for a resumed run."""
    directory, placement, sides = job.directory, job.parts.placement, job.parts.sides
    measured: dict[str, dict[str, float]] = {}
    if not placement.told(lambda: directory.holds(BASELINES)):
        measured["student_before"] = numbers(job.measured(sides.student, "student before", say))
        measured["teacher"] = numbers(job.measured(sides.teacher, "teacher", say))
    return placement.told(lambda: directory.kept(BASELINES, lambda: measured, shape=Baselines))


def _close(
    job: Job,
    session: Session,
    before: Mapping[str, dict[str, float]],
    say: Callable[[str], None],
) -> dict[str, Any]:
    run, directory, student = job.run, job.directory, job.parts.sides.student
    placement = job.parts.placement
    selection = "last"
    best = directory.path / BEST
    if run.checkpoint.export == "best":
        if not best.is_file():
            raise RunError(
                "checkpoint.export=best needs validations: set evaluation.every above 0."
            )
        load_weights(student, best, way_out=WAY_OUT, placement=placement)
        selection = f"best-by-validation (step {session.progress.best_step})"
    export(student, directory.student, placement=placement)
    with student.whole(), student.plain():
        final = job.measured(student, "student after", say)
    costs = session.spending.total()

    def summary() -> dict[str, Any]:
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
            **({"teacher_costs": costs} if costs else {}),
            "student_before": before["student_before"],
            "student_after": numbers(final),
            "teacher": before["teacher"],
            **({"layouts": layouts} if len(layouts := session.progress.layouts) > 1 else {}),
        }

    return placement.told(summary)


def _verdicts(quality: Quality) -> Iterator[Verdict]:
    for item in quality.answers:
        if item.correct is not None:
            yield {"split": "test", "id": item.example.id, "student": item.correct}
