"""A study's folder: claimed, filled, and finished with its numbers, tables and pictures."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from distillkit.compose import Composed
from distillkit.core.provenance import processor, provenance
from distillkit.core.rundir import RunDirectory
from distillkit.core.shapes import Shown, StudySummary
from distillkit.programs.train.differences import check_same
from distillkit.run_studies import Study


def directory_of(composed: Composed, study: str) -> RunDirectory:
    """Where a study lives: under its name, or a part of its fingerprint.

    Raises:
        RunError: something else is there.
    """
    run: Study = composed.run
    place = Path(run.output) / "study" / study / (run.name or composed.fingerprint[:8])
    directory = RunDirectory(place, shape=StudySummary)
    check_same(directory, composed)
    return directory


def conduct(
    composed: Composed,
    study: str,
    *,
    console: Console,
    prepare: Callable[[RunDirectory], Callable[[], None]],
    show: Callable[[dict[str, Any], RunDirectory, Console], None],
) -> RunDirectory:
    """Run a study, go on with it, or show what it found.

    Args:
        composed: as asked for.
        study: which it is.
        console: where it is shown.
        prepare: checks all that can be checked, writes nothing, and returns what does the work,
            which ends by :func:`finish`.
        show: its summary.

    Raises:
        DistillkitError: something the user has to mend.
        Interrupted: a stop was asked for; what is done is kept.
    """
    directory = directory_of(composed, study)
    if directory.summary is None:
        work = prepare(directory)
        with claimed(composed, directory, console):
            work()
    else:
        console.print(f"already done: {directory.path}", soft_wrap=True)
    summary = directory.summary
    assert summary is not None
    show(summary, directory, console)
    return directory


@contextmanager
def claimed(composed: Composed, directory: RunDirectory, console: Console) -> Iterator[None]:
    """Hold a study's folder for this process.

    Raises:
        RunError: another process is at work in it.
    """
    record = {
        **provenance(),
        "device": processor(),
        "seed": composed.run.seeds[0],
        "study": directory.path.parent.name,
    }
    with directory.claim(**composed.asked(), provenance=record) as notes:
        console.print(f"study folder {directory.path}", soft_wrap=True)
        for note in notes:
            console.print(f"note: {note}", soft_wrap=True)
        yield


def finish(
    composed: Composed,
    directory: RunDirectory,
    study: str,
    found: Mapping[str, object],
    *,
    shown: Shown,
    leaves: Sequence[str] = (),
) -> None:
    """Write what was found, last of all.

    Args:
        composed: the study.
        directory: its own.
        study: which it is.
        found: numbers, in JSON's types.
        shown: what ``distillkit report`` makes a page of; its files are there, and are kept as they
            are from now on.
        leaves: other files to be kept so.
    """
    told = {"name": directory.path.name, "fingerprint": composed.fingerprint, "study": study}
    files = [each["file"] for each in (*shown["tables"], *shown["pictures"])]
    directory.finish({**told, **found, "shown": shown}, leaves=[*files, *leaves])
