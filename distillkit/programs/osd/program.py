"""``distillkit osd``: assemble, claim the directory, serve the stream, leave drafts behind."""

from pathlib import Path
from typing import Any

from rich.console import Console

from distillkit.compose import Composed
from distillkit.core.files import new_folder
from distillkit.core.provenance import processor, provenance
from distillkit.core.rundir import RunDirectory
from distillkit.core.seeds import child_seed
from distillkit.core.shapes import StreamSummary
from distillkit.core.spec import name_of
from distillkit.core.stopping import Stop, stopping
from distillkit.core.terminal import WIDE, terminal
from distillkit.online.pace import pace
from distillkit.programs.osd.assemble import Assembled, assemble
from distillkit.programs.osd.fields import check_fields
from distillkit.programs.osd.picture import draw_stream
from distillkit.programs.osd.results import summarise
from distillkit.programs.osd.session import WINDOW, Session
from distillkit.programs.osd.standing import JOURNALS, PROBES, REQUESTS, where_it_stands
from distillkit.programs.osd.table import lines, stream_table
from distillkit.programs.train.differences import check_same
from distillkit.programs.watch import Watch
from distillkit.run_drafts import OsdRun

PACED = 12
"""Held-out prompts on which speed is measured."""


def osd(composed: Composed, *, console: Console | None = None) -> RunDirectory:
    """Run, resume, or show the result of a run that is already done.

    Raises:
        DistillkitError: something the user has to mend.
        Interrupted: a stop was asked for; the state is saved.
    """
    console = console or terminal(columns=WIDE)
    run: OsdRun = composed.run
    check_fields(run)
    directory = directory_of(composed)
    check_same(directory, composed)
    if (done := directory.summary) is not None:
        console.print(f"already done: {directory.path}", soft_wrap=True)
        _show(done, console)
        return directory
    parts = assemble(run)
    record = {**provenance(), "device": str(parts.target.device), "seed": run.seed}
    with (
        stopping() as stop,
        directory.claim(
            fingerprint=composed.fingerprint,
            config=composed.yaml(),
            overrides=composed.overrides,
            provenance=record,
        ) as notes,
    ):
        watch = Watch(console, log=directory.path / "log.txt")
        for line in (f"run directory {directory.path}", *_notes(*parts.notes, *notes)):
            watch.say(line)
        summary = _serve(composed, parts, directory, watch, stop)
    _show(summary, console)
    watch.say(f"drafts   {directory.student}\nfigure   {directory.path / 'osd.png'}")
    return directory


def directory_of(composed: Composed) -> RunDirectory:
    """Where a run lives: its name, or one of stream, divergence and fingerprint."""
    run: OsdRun = composed.run
    made = f"{name_of(run.stream)}-{name_of(run.divergence)}-{composed.fingerprint[:8]}"
    return RunDirectory(Path(run.output) / "osd" / (run.name or made), shape=StreamSummary)


def _serve(
    composed: Composed, parts: Assembled, directory: RunDirectory, watch: Watch, stop: Stop
) -> dict[str, Any]:
    run: OsdRun = composed.run
    standing = where_it_stands(directory, [*parts.students], fingerprint=composed.fingerprint)
    tracked = run.tracker.start(
        folder=directory.path,
        name=directory.path.name,
        identity=composed.fingerprint,
        config=composed.config,
        say=watch.say,
    )
    failed, final = True, dict[str, float]()
    try:
        with watch.running():
            session = Session(
                run,
                parts,
                directory=directory,
                standing=standing,
                watch=watch,
                tracked=tracked,
                stop=stop,
            )
            session.serve()
        summary = _close(composed, parts, directory, session, stop)
        final = {f"stream/{name}": value for name, value in summary["all"].items()}
        final["stream/speed_up"] = summary["pace"]["speed_up"]
        failed = False
    finally:
        tracked.finish(final, failed=failed)
    return summary


def _close(
    composed: Composed, parts: Assembled, directory: RunDirectory, session: Session, stop: Stop
) -> dict[str, Any]:
    run: OsdRun = composed.run
    with new_folder(directory.student) as folder:
        for name, student in parts.students.items():
            student.save(folder / name if len(parts.students) > 1 else folder)
    held = [example for each in parts.held.values() for example in each]
    paced = held[:: max(1, len(held) // PACED)][:PACED]
    measured = pace(
        parts.target,
        next(iter(parts.students.values())),
        paced,
        sampling=run.rollout,
        proposals=run.proposals,
        seed=child_seed(run.seed, "pace"),
        poll=stop.poll,
    )
    summary = {
        "name": directory.path.name,
        "fingerprint": composed.fingerprint,
        **summarise(session.rows, proposals=run.proposals),
        "pace": {**measured, "processor": processor()},
    }
    served, probes = session.rows[REQUESTS], session.rows[PROBES]
    draw_stream(summary["name"], served, probes, directory.path / "osd.png", window=WINDOW)
    directory.finish(summary, leaves=(directory.student.name, *JOURNALS))
    return summary


def _notes(*notes: str) -> list[str]:
    return [f"note: {note}" for note in notes]


def _show(summary: dict[str, Any], console: Console) -> None:
    console.print(stream_table(summary))
    for line in lines(summary):
        console.print(line, soft_wrap=True)
