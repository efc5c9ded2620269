"""``distillkit study fidelity run``: train the grid, read its evaluations, ask the questions."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from rich.console import Console
from safetensors import safe_open

from distillkit.compose import Composed
from distillkit.core.files import new_file, write_csv
from distillkit.core.rundir import RunDirectory
from distillkit.core.shapes import Shown, ShownPicture, ShownTable
from distillkit.core.terminal import WIDE, terminal
from distillkit.evaluation.fidelity_study.further import averaged, departures, pooled, ranked
from distillkit.evaluation.fidelity_study.hypotheses import answers
from distillkit.evaluation.fidelity_study.own import (
    Row,
    benchmark_rows,
    check_same_examples,
    read,
    row_of,
)
from distillkit.evaluation.fidelity_study.results import Selection, average, rule
from distillkit.evaluation.fidelity_study.tasks import absent, at_hand
from distillkit.programs.study.fidelity.pictures import draw_ablation, draw_paradox
from distillkit.programs.study.fidelity.plan import Alone, Plan, check_examples, plan_of
from distillkit.programs.study.fidelity.tables import show
from distillkit.programs.study.fidelity.verdict import NOTE, verdict
from distillkit.programs.study.folder import conduct, finish
from distillkit.programs.study.trainings import Trainings
from distillkit.run_studies import FidelityStudy

STUDY = "fidelity"
RESULTS, TESTS = "results.csv", "tests.csv"
PARADOX, ABLATION = "paradox", "ablation"
"""Names of pictures, and of the csv beside each."""
AVERAGE = "average"
TITLES = {PARADOX: "Gain against likeness to the teacher", ABLATION: "Departures from the grid"}
ALTS = {
    PARADOX: "The gain of each student over supervised training against its likeness to the "
    "teacher, a panel for each measure of likeness.",
    ABLATION: "Gain and likeness by the temperature of both sides, and by noise on the teacher.",
}


def study_fidelity_run(
    composed: Composed,
    *,
    console: Console | None = None,
    config_dir: Path | None = None,
    plugins: Sequence[str] = (),
) -> RunDirectory:
    """Run, resume, or show what is done.

    Raises:
        DistillkitError: something the user has to mend.
        Interrupted: a stop was asked for; what is trained is kept.
    """
    console = console or terminal(columns=WIDE)
    run: FidelityStudy = composed.run

    def prepare(directory: RunDirectory) -> Callable[[], None]:
        trainings = Trainings(
            run, directory.path, console=console, config_dir=config_dir, plugins=plugins
        )
        benchmarks = at_hand(run.data, run.benchmarks)
        plan = plan_of(run, trainings, benchmarks=benchmarks)
        trainings.check(plan.every)
        check_examples(run, plan, trainings)

        def work() -> None:
            rows, others = _measure(plan, trainings, benchmarks=benchmarks)
            found = _found(run, rows, others) | {"benchmarks": benchmarks}
            page = _write(directory.path, found, [*rows, *others])
            finish(composed, directory, STUDY, found, shown=page)

        return work

    return conduct(composed, STUDY, console=console, prepare=prepare, show=_show)


def _show(summary: dict[str, Any], directory: RunDirectory, console: Console) -> None:
    show(summary, console, without=absent(summary["benchmarks"]))
    console.print(f"picture  {directory.path / PARADOX}.png", soft_wrap=True)


def _measure(
    plan: Plan, trainings: Trainings, *, benchmarks: Sequence[str]
) -> tuple[list[Row], list[Row]]:
    """Rows of the tasks, and those of the benchmarks."""
    first = [*plan.teachers.values(), *plan.baselines.values()]
    runs: dict[str, RunDirectory] = {}
    for stage, asked in (("alone", first), ("distilled", list(plan.cells.values()))):
        runs |= trainings.run(asked, stage=stage)
    trainings.table([*plan.baselines.values(), *plan.cells.values()])
    sizes: dict[str, float] = {}
    rows, others = [], []
    for cell, training in plan.cells.items():
        alone: Alone = (cell.student, cell.task, cell.seed)
        baseline, path = runs[plan.baselines[alone].name], runs[training.name].path
        if cell.student not in sizes:
            sizes[cell.student] = billions(baseline.student)
        row = row_of(cell, path, baseline.path, student_size=sizes[cell.student])
        rows.append(row)
        names = {name: f"{name} after {cell.task}" for name in benchmarks}
        others += benchmark_rows(row, path, baseline.path, names=names)
    for task in dict.fromkeys(cell.task for cell in plan.cells):
        same = [runs[plan.cells[cell].name].path for cell in plan.cells if cell.task == task]
        check_same_examples({path: read(path) for path in same})
    return rows, others


def _found(run: FidelityStudy, rows: Sequence[Row], others: Sequence[Row]) -> dict[str, Any]:
    """Everything that is told, in JSON's types."""
    tau, noise = run.taus[0], run.noises[0]
    grid = [row for row in rows if (row.cell.tau, row.cell.noise) == (tau, noise)]
    results = [row.result() for row in grid]
    results += average(results, AVERAGE)
    results += [row.result() for row in others if row.cell.tau == tau and row.cell.noise == noise]
    how = rule(Selection.fixed, tau)
    outcomes = answers(results, selection=Selection.fixed, tau=tau)
    outcomes += ranked(results, selection=how)
    return {
        "selection": how,
        "grid": {"tau": tau, "noise": noise},
        "means": averaged(rows),
        "answers": [answer.as_dict() for answer in outcomes],
        "together": [each.as_dict() for each in pooled(grid, selection=how)],
        "departures": departures(rows, tau=tau, noise=noise),
    }


def _write(folder: Path, found: Mapping[str, Any], rows: Sequence[Row]) -> Shown:
    """Tables and pictures, and what is said of them."""
    write_csv(folder / RESULTS, [row.as_dict() for row in rows])
    write_csv(folder / TESTS, found["answers"])
    tables: list[ShownTable] = [
        {"title": "Every student", "file": RESULTS},
        {"title": "Tests", "file": TESTS},
    ]
    pictures: list[ShownPicture] = []
    draws = {PARADOX: (draw_paradox, "means"), ABLATION: (draw_ablation, "departures")}
    for name, (draw, key) in draws.items():
        if not found[key]:
            continue
        write_csv(folder / f"{name}.csv", found[key])
        with new_file(folder / f"{name}.png") as file:
            draw(found, file)
        tables.append({"title": TITLES[name], "file": f"{name}.csv"})
        pictures.append({"title": TITLES[name], "file": f"{name}.png", "alt": ALTS[name]})
    return {"tables": tables, "pictures": pictures, "said": [verdict(found), NOTE]}


def billions(student: Path) -> float:
    """Parameters of the weights in a folder, in billions; what is tied counts once."""
    count = 0
    for file in sorted(student.glob("*.safetensors")):
        with safe_open(file, framework="numpy") as weights:
            for name in weights.keys():  # noqa: SIM118 (it is no mapping)
                count += prod(weights.get_slice(name).get_shape())
    return count / 1e9
