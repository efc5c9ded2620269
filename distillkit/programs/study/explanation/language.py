"""``distillkit study explanation language``: train on sharper and sharper text, evaluate, show."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from distillkit.compose import Composed
from distillkit.core.files import new_file, write_csv
from distillkit.core.rundir import RunDirectory
from distillkit.core.shapes import Shown
from distillkit.core.terminal import WIDE, cell, of_numbers, terminal, tight_table
from distillkit.evaluation.explanation_study.trade import (
    Measured,
    Way,
    above_the_curve,
    by_temperature,
    tabulated,
)
from distillkit.evaluation.folder import EvaluationFolder
from distillkit.programs.study.explanation.language_picture import draw_language
from distillkit.programs.study.folder import conduct, finish
from distillkit.programs.study.trainings import Training, Trainings, overridden, split
from distillkit.run_studies import LanguageStudy

STUDY = "language"
RUNS, TABLE, PICTURE = "runs.csv", "table.csv", "language.png"
ALT = (
    "Precision and recall of students against the temperature of the text that they learned from; "
    "precision against recall, with students of divergences beside that curve."
)

SHARED = "evaluation.every=0 evaluation.test=0"
"""Of all trainings: nothing is measured but by the evaluation."""

METRIC = "metric=precision_recall metric.precision_recall.truth=teacher"


def study_language(
    composed: Composed,
    *,
    config_dir: Path | None = None,
    plugins: Sequence[str] = (),
    console: Console | None = None,
) -> RunDirectory:
    """Run, resume, or show what is done.

    Raises:
        DistillkitError: something the user has to mend.
        Interrupted: a stop was asked for; the training that ran is saved.
    """
    console = console or terminal(columns=WIDE)
    run: LanguageStudy = composed.run

    def prepare(directory: RunDirectory) -> Callable[[], None]:
        trainings = Trainings(
            run, directory.path, console=console, config_dir=config_dir, plugins=plugins
        )
        planned = plan(run)
        trainings.check([*planned.values()])
        return lambda: _measure(composed, directory, planned, trainings)

    return conduct(composed, STUDY, console=console, prepare=prepare, show=_show)


def plan(run: LanguageStudy) -> dict[tuple[Way, int], Training]:
    """The trainings by way and seed."""
    ways = {Way(f"text at {tau:g}", tau): [*_text(tau), "objective=sft"] for tau in run.taus} | {
        Way(name.replace("_", " "), None): overridden(
            _text(1.0), split(told, f"divergences.{name}")
        )
        for name, told in run.divergences.items()
    }
    evaluation = f"{METRIC} limit={run.limit} samples={run.samples}"
    return {
        (way, seed): Training(
            f"{_slug(way.name)}-{seed}",
            f"{shlex.join(overrides)} seed={seed} {SHARED}",
            evaluation,
        )
        for way, overrides in ways.items()
        for seed in run.seeds
    }


def _text(tau: float) -> list[str]:
    """Overrides by which the teacher writes at a temperature."""
    return ["policy=seq_kd", f"teacher_rollout.temperature={tau:g}"]


def _measure(
    composed: Composed,
    directory: RunDirectory,
    planned: dict[tuple[Way, int], Training],
    trainings: Trainings,
) -> None:
    found = trainings.run([*planned.values()], stage="students")
    trainings.table([*planned.values()])
    measured = [
        _measured(way, seed, found[training.name]) for (way, seed), training in planned.items()
    ]
    table = tabulated(measured)
    write_csv(directory.path / RUNS, [each.as_row() for each in measured])
    write_csv(directory.path / TABLE, table)
    with new_file(directory.path / PICTURE) as file:
        draw_language(measured, file)
    told = {
        "table": table,
        "start": _numbers(next(iter(found.values())), "start"),
        "temperature": [each.as_dict() for each in by_temperature(measured)],
        "divergences": [
            {"way": name, **finding.as_dict()} for name, finding in above_the_curve(measured)
        ],
    }
    finish(composed, directory, STUDY, told, shown=_shown(told))


def _shown(told: dict[str, Any]) -> Shown:
    return {
        "tables": [
            {"title": "Log-likelihood of a token in nats, over seeds", "file": TABLE},
            {"title": "Every student", "file": RUNS},
        ],
        "pictures": [{"title": "The trade", "file": PICTURE, "alt": ALT}],
        "said": [*sentences(told), agreement(told)],
    }


def _measured(way: Way, seed: int, run: RunDirectory) -> Measured:
    numbers = _numbers(run, "student")
    return Measured(way, seed, numbers["precision"], numbers["recall"], numbers["own_entropy"])


def _numbers(run: RunDirectory, who: str) -> dict[str, float]:
    kept = EvaluationFolder(run.path, "test").kept()
    assert kept is not None
    found = kept.results["numbers"][who]["precision_recall"]
    return {name: float(each["value"]) for name, each in found.items()}


def _slug(name: str) -> str:
    return "".join(each if each.isalnum() or each == "." else "-" for each in name.lower())


def _show(summary: dict[str, Any], directory: RunDirectory, console: Console) -> None:
    console.print(_table(summary))
    for said in (*sentences(summary), agreement(summary)):
        console.print(said, soft_wrap=True)
    console.print(f"picture  {directory.path / PICTURE}", soft_wrap=True)


def sentences(summary: dict[str, Any]) -> list[str]:
    """Both correlations, and where other ways lie beside the curve of temperatures."""
    told = [
        f"{name} against temperature: Spearman {found['estimate']:+.2f}{_between(found, '.2f')}, "
        f"n = {found['n']}"
        for found, name in zip(summary["temperature"], ("precision", "recall"), strict=True)
    ]
    told += [
        f"{found['way']}: precision {found['estimate']:+.3f}{_between(found, '.3f')} nats a token "
        "beside text of the same recall"
        for found in summary["divergences"]
    ]
    return told


def agreement(summary: dict[str, Any]) -> str:
    """What agrees with the paper, and what does not."""
    precision, recall = summary["temperature"]
    signs = (
        precision["high"] is not None and precision["high"] < 0,
        recall["low"] is not None and recall["low"] > 0,
    )
    return {
        (True, True): "Agrees with the paper: the sharper the teacher's text, the more precise the "
        "student and the less it covers. It publishes no numbers to compare with.",
        (True, False): "Precision rises with sharper text as in the paper; recall does not clearly "
        "fall.",
        (False, True): "Recall falls with sharper text as in the paper; precision does not clearly "
        "rise.",
        (False, False): "Neither side of the paper's trade is clear in this setting.",
    }[signs]


def _between(found: dict[str, Any], form: str) -> str:
    if found["low"] is None:
        return ""
    return f" ({found['low']:+{form}} to {found['high']:+{form}})"


def _table(summary: dict[str, Any]) -> Table:
    table = tight_table(
        "Mean log-likelihood of a token in nats, over seeds, ± spread",
        Column("student learnt from"),
        *of_numbers("precision", "recall", "own entropy"),
    )
    start = summary["start"]
    names = ("precision", "recall", "own_entropy")
    table.add_row("nothing yet", *(cell(start[name], ".3f") for name in names))
    for row in summary["table"]:
        spreads = (f"{row[f'{name}_mean']:.3f} ± {row[f'{name}_std']:.3f}" for name in names)
        table.add_row(row["way"], *spreads)
    return table
