"""The trainings of the grid: teachers on each task, students without and with a teacher."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from distillkit.compose import Composed, quoted
from distillkit.core.errors import ConfigError
from distillkit.core.store import key_of
from distillkit.core.types import Split
from distillkit.evaluation.fidelity_study.own import Cell
from distillkit.programs.study.trainings import Training, Trainings
from distillkit.programs.train.program import directory_of
from distillkit.run_studies import FidelityStudy

MEASURED_LATER = "evaluation.every=0 evaluation.test=0"
"""Of every training: the study evaluates what it needs."""

Alone = tuple[str, str, int]
"""Student, task and seed of a supervised training."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is trained, in this order; names of cells are those of run directories."""

    teachers: Mapping[tuple[str, str], Training]
    """By name and task; those that are finished models are left out."""
    baselines: Mapping[Alone, Training]
    """Students without a teacher."""
    cells: Mapping[Cell, Training]
    """Students with one."""

    @property
    def every(self) -> list[Training]:
        """All of them."""
        return [*self.teachers.values(), *self.baselines.values(), *self.cells.values()]


def plan_of(run: FidelityStudy, trainings: Trainings, *, benchmarks: Sequence[str]) -> Plan:
    """The grid, and the departures from it in temperature and noise.

    Args:
        run: the study.
        trainings: knows where a teacher's run directory will be.
        benchmarks: on which every student is measured too.

    Raises:
        ConfigError: a teacher's training cannot be composed.
    """
    alone, beside = _evaluations(run, benchmarks)
    teachers = {
        (name, task): Training(
            f"teacher-{name}-{task}",
            f"experiment=sft teacher=null {dataset} {MEASURED_LATER} {asks} seed={run.seeds[0]}",
        )
        for (name, asks), (task, dataset) in product(run.teachers.items(), run.tasks.items())
        if not _finished(asks)
    }
    baselines = {
        (student, task, seed): Training(
            f"sft-{student}-{task}-seed{seed}",
            f"experiment=sft teacher=null {run.students[student]} {run.tasks[task]} "
            f"{MEASURED_LATER} {run.supervised} seed={seed}",
            alone,
        )
        for student, task, seed in product(run.students, run.tasks, run.seeds)
    }
    chosen = {
        (name, task): _choice(trainings, teachers.get((name, task)), run.teachers[name])
        for name, task in product(run.teachers, run.tasks)
    }
    cells = {
        cell: Training(
            _name(cell),
            f"{chosen[cell.teacher, cell.task]} {run.students[cell.student]} "
            f"{run.tasks[cell.task]} {MEASURED_LATER} {run.methods[cell.method]} "
            f"{run.distilled} {_signal(cell)} seed={cell.seed}",
            beside,
        )
        for cell in cells_of(run)
    }
    return Plan(teachers, baselines, cells)


def cells_of(run: FidelityStudy) -> list[Cell]:
    """Every distilled student: the grid, then the departures from it."""
    tau, noise = run.taus[0], run.noises[0]
    pairs = list(product(run.teachers, run.students, run.tasks, run.methods))
    grid = [Cell(*pair, tau, noise, seed) for pair, seed in product(pairs, run.seeds)]
    others = [(other, noise) for other in run.taus[1:]] + [(tau, other) for other in run.noises[1:]]
    first, student, method = (
        next(iter(each)) for each in (run.teachers, run.students, run.methods)
    )
    departures = [
        Cell(first, student, task, method, *other, seed)
        for task, other, seed in product(run.ablation, others, run.seeds)
    ]
    return [*grid, *departures]


def check_examples(run: FidelityStudy, plan: Plan, trainings: Trainings) -> None:
    """Refuse a grid whose cells are not tested on the same examples, and tasks without any.

    Raises:
        ConfigError: two cells of a task differ, or a task has no test example.
        DataError: a dataset cannot be read.
    """
    known: dict[str, str] = {}
    first: dict[str, tuple[str, str]] = {}
    tasks = [
        *((task, training) for (_, task, _), training in plan.baselines.items()),
        *((cell.task, training) for cell, training in plan.cells.items()),
    ]
    for task, training in tasks:
        made = trainings.composed(training)
        settings = key_of(made.config["dataset"])
        if settings not in known:
            known[settings] = _digest(run, task, made)
        found = known[settings]
        name, digest = first.setdefault(task, (training.name, found))
        if digest != found:
            raise ConfigError(
                f"tasks.{task}: {training.name} and {name} would be tested on different examples. "
                "Say everything about the dataset in tasks, and nothing of it in train, students, "
                "methods, supervised or distilled."
            )


def _evaluations(run: FidelityStudy, benchmarks: Sequence[str]) -> tuple[str, str]:
    """Overrides of ``eval`` for a student alone, and for one beside its teacher."""
    asked = f" limit={run.examples} samples=1"
    metrics = "accuracy"
    if benchmarks:
        metrics += ",lm_eval"
        path = shlex.quote(quoted(str(Path(run.data or "").resolve())))
        asked += f" metric.lm_eval.tasks=[{','.join(benchmarks)}] metric.lm_eval.path={path}"
        asked += f" metric.lm_eval.limit={run.examples} metric.lm_eval.fewshot=0"
    beside = f"metric=[{metrics},agreement,divergence,similarity]{asked}"
    return f"metric=[{metrics}]{asked}", beside


def _digest(run: FidelityStudy, task: str, made: Composed) -> str:
    examples = made.run.dataset.examples(Split.test)[: run.examples]
    if not examples:
        raise ConfigError(
            f"tasks.{task}={run.tasks[task]!r} has no test examples. Choose another dataset."
        )
    return key_of([(each.id, each.question, each.reference) for each in examples])


def _choice(trainings: Trainings, training: Training | None, asks: str) -> str:
    """Overrides that make a distillation learn from this teacher."""
    if training is None:
        return asks
    made = trainings.composed(training)
    place = quoted(str(directory_of(made).student.resolve()))
    return f"teacher=hf teacher.name={shlex.quote(place)} teacher.prompt={made.run.student.prompt}"


def _signal(cell: Cell) -> str:
    """Overrides of smoothing and noise; nothing where there is neither."""
    sides = [f"objective.{side}_temperature={cell.tau}" for side in ("teacher", "student")]
    asked = sides if cell.tau != 1 else []
    return " ".join([*asked, *([f"objective.teacher_noise={cell.noise}"] if cell.noise else [])])


def _finished(asks: str) -> bool:
    return any(word.startswith("teacher=") for word in asks.split())


def _name(cell: Cell) -> str:
    signal = f"tau{cell.tau:g}-noise{cell.noise:g}"
    return f"kd-{cell.teacher}-{cell.student}-{cell.task}-{cell.method}-{signal}-seed{cell.seed}"
