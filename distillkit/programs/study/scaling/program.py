"""``distillkit study scaling``: train the grid, fit laws, foretell the largest cell, tell it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from distillkit.compose import Composed
from distillkit.core.files import new_file, write_csv
from distillkit.core.rundir import RunDirectory
from distillkit.core.shapes import Shown
from distillkit.core.terminal import WIDE, terminal
from distillkit.models.counting import parameters_of
from distillkit.programs.study.folder import conduct, finish
from distillkit.programs.study.scaling.fits import drawn, lines_of
from distillkit.programs.study.scaling.grid import (
    Cell,
    cells_of,
    check_sizes,
    check_tests,
    measured,
)
from distillkit.programs.study.scaling.picture import ALT, draw
from distillkit.programs.study.scaling.showing import NAMES, sentences, table_of
from distillkit.programs.study.trainings import Training, Trainings
from distillkit.run_studies import ScalingStudy

STUDY = "scaling"
CELLS, FITS, LAWS, PICTURE = "cells.csv", "fits.csv", "laws.csv", "scaling.png"


def study_scaling(
    composed: Composed,
    *,
    config_dir: Path | None = None,
    plugins: Sequence[str] = (),
    console: Console | None = None,
) -> RunDirectory:
    """Run, resume, or show what is done.

    Raises:
        DistillkitError: something the user has to mend.
        Interrupted: a stop was asked for; the cells so far are kept.
    """
    console = console or terminal(columns=WIDE)
    run: ScalingStudy = composed.run

    def prepare(directory: RunDirectory) -> Callable[[], None]:
        trainings = Trainings(
            run, directory.path, console=console, config_dir=config_dir, plugins=plugins
        )
        cells = _checked(run, trainings)
        return lambda: _measure(composed, directory, cells, trainings)

    return conduct(composed, STUDY, console=console, prepare=prepare, show=_show)


def _show(summary: dict[str, Any], directory: RunDirectory, console: Console) -> None:
    console.print(table_of(summary["fits"], summary["of"]))
    for said in summary["shown"]["said"]:
        console.print(said, soft_wrap=True)
    console.print(f"picture  {directory.path / PICTURE}", soft_wrap=True)


def _checked(run: ScalingStudy, trainings: Trainings) -> list[Cell]:
    """The cells, of which every one can be run, before any is."""
    first, *_ = run.methods
    parameters = {}
    for student in run.students:
        typed = f"{run.methods[first]} {run.students[student]}"
        made = trainings.composed(Training(f"students.{student}", typed))
        parameters[student] = parameters_of(made.run.student, field="student.name")
    check_sizes(parameters)
    cells = cells_of(run, parameters)
    wanted = [cell.training(run) for cell in cells]
    trainings.check(wanted)
    check_tests(run, {each.name: trainings.composed(each) for each in wanted})
    return cells


def _measure(
    composed: Composed, directory: RunDirectory, cells: Sequence[Cell], trainings: Trainings
) -> None:
    run: ScalingStudy = composed.run
    wanted = [cell.training(run) for cell in cells]
    found = trainings.run(wanted, stage="grid")
    rows = [cell.row(measured(found[cell.name], run.of)) for cell in cells]
    lines = lines_of(rows)
    fits = [line.row(run.of) for line in lines]
    laws = [row for line in lines for row in drawn(line)]
    for name, table in ((CELLS, rows), (FITS, fits), (LAWS, laws)):
        write_csv(directory.path / name, table)
    with new_file(directory.path / PICTURE) as file:
        draw(lines, laws, name=NAMES[run.of], file=file)
    trainings.table(wanted)
    told: dict[str, Any] = {"of": str(run.of), "fits": fits}
    finish(composed, directory, STUDY, told, shown=_shown(fits, run.of), leaves=(LAWS,))


def _shown(fits: Sequence[dict[str, Any]], of: str) -> Shown:
    name = NAMES[of]
    return {
        "tables": [
            {"title": f"Power laws of the {name}, 95 % intervals", "file": FITS},
            {"title": f"Cells: the {name} of every seed", "file": CELLS},
        ],
        "pictures": [{"title": f"The {name} against size", "file": PICTURE, "alt": ALT}],
        "said": sentences(fits, of),
    }
