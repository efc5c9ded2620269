"""``distillkit study explanation mixture``: one seed after another, a table, csv, a picture."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Column, Table

from distillkit.compose import Composed
from distillkit.core.files import new_file, write_csv
from distillkit.core.rundir import RunDirectory
from distillkit.core.shapes import Shown
from distillkit.core.stopping import stopping
from distillkit.core.terminal import WIDE, cell, of_numbers, terminal, tight_table
from distillkit.evaluation.explanation_study.fitting import check_installed
from distillkit.evaluation.explanation_study.precision_recall import measured
from distillkit.evaluation.explanation_study.settings import Levels
from distillkit.programs.study.explanation.mixture_picture import draw_mixture
from distillkit.programs.study.folder import conduct, finish
from distillkit.programs.watch import Watch
from distillkit.run_studies import MixtureStudy
from distillkit.statistics.finding import Finding
from distillkit.statistics.paired import t_test

Row = dict[str, Any]

COLUMNS = ("precision", "recall", "precision_as_coded", "recall_as_coded", "teacher_entropy")

Published = Mapping[float | None, Mapping[str, float]]

PUBLISHED: Published = {
    None: {"precision_as_coded": -20.266, "recall_as_coded": -2.646},
    100.0: {"precision_as_coded": -0.703, "recall_as_coded": -42.445},
}
"""Of the authors' notebook, by beta: one seed of the paper's sizes. Its precision is under the
sharpened teacher."""

STUDY = "mixture"
SEEDS, TABLE, PICTURE = "seeds.csv", "table.csv", "mixture.png"
ALT = (
    "Precision and recall against beta; precision against recall, coloured by the entropy of the "
    "teacher's weights; the fits of the direct student and of two others over the truth."
)


def study_mixture(composed: Composed, *, console: Console | None = None) -> RunDirectory:
    """Run, resume, or show what is done.

    Raises:
        DistillkitError: something the user has to mend.
        Interrupted: a stop was asked for; the seeds so far are kept.
    """
    console = console or terminal(columns=WIDE)

    def prepare(directory: RunDirectory) -> Callable[[], None]:
        check_installed()
        return lambda: _measure(composed, directory, console)

    return conduct(composed, STUDY, console=console, prepare=prepare, show=_show)


def _measure(composed: Composed, directory: RunDirectory, console: Console) -> None:
    run: MixtureStudy = composed.run
    watch = Watch(console, log=directory.path / "log.txt")
    tracked = run.tracker.start(
        folder=directory.path,
        name=directory.path.name,
        identity=composed.fingerprint,
        config=composed.config,
        say=watch.say,
    )
    rows: list[Row] = []
    failed = True
    try:
        with stopping() as stop, watch.running():
            for done, seed in enumerate(run.seeds):
                stop.poll()
                watch.progress("seeds", done, len(run.seeds))
                rows += directory.kept(
                    f"seed-{seed}.json",
                    lambda seed=seed: measured(run.levels, run.betas, seed),  # type: ignore[misc]
                    shape=list[Row],
                )
        table = tabulated(rows, published=PUBLISHED if run.levels == Levels() else {})
        for place, row in enumerate(table):
            said = {
                name: row[f"{name}_mean"] for name in COLUMNS if row[f"{name}_mean"] is not None
            }
            tracked.log(said, step=place)
        write_csv(directory.path / SEEDS, rows)
        write_csv(directory.path / TABLE, table)
        with new_file(directory.path / PICTURE) as file:
            draw_mixture(run, rows, file)
        found = {"table": table, "trade": [each.as_dict() for each in trades(rows)]}
        finish(composed, directory, STUDY, found, shown=_shown(found))
        failed = False
    finally:
        tracked.finish({}, failed=failed)


def _shown(found: dict[str, Any]) -> Shown:
    return {
        "tables": [
            {"title": "Log-likelihood of a point in nats, over seeds", "file": TABLE},
            {"title": "Every seed", "file": SEEDS},
        ],
        "pictures": [{"title": "The trade, and three fits", "file": PICTURE, "alt": ALT}],
        "said": [*gains(found), agreement(found)],
    }


def tabulated(rows: Sequence[Row], *, published: Published) -> list[Row]:
    """Mean and spread over seeds for each beta, the direct student first, beside what is published.

    Args:
        rows: of every seed.
        published: numbers by beta and column.
    """
    table = []
    for beta in dict.fromkeys(row["beta"] for row in rows):
        own = [row for row in rows if row["beta"] == beta]
        told: Row = {"beta": beta, "seeds": len(own)}
        for name in COLUMNS:
            values = [row[name] for row in own if row[name] is not None]
            told[f"{name}_mean"] = float(np.mean(values)) if values else None
            told[f"{name}_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
            told[f"{name}_published"] = published.get(beta, {}).get(name)
        table.append(told)
    return table


def trades(rows: Sequence[Row]) -> list[Finding]:
    """What the sharpest teacher's student gains in precision, and loses in recall; by seeds."""
    sharpest = max(row["beta"] for row in rows if row["beta"] is not None)
    sides = [[row for row in rows if row["beta"] == beta] for beta in (sharpest, None)]
    if len(sides[0]) < 2:
        return []
    return [
        t_test(*([row[name] for row in side] for side in sides), selection=f"beta {sharpest:g}")
        for name in ("precision", "recall")
    ]


def _show(summary: dict[str, Any], directory: RunDirectory, console: Console) -> None:
    table: list[Row] = summary["table"]
    console.print(_table(table))
    for said in (*gains(summary), agreement(summary)):
        console.print(said, soft_wrap=True)
    console.print(f"picture  {directory.path / PICTURE}", soft_wrap=True)


def gains(summary: dict[str, Any]) -> list[str]:
    """What the sharpest teacher's student gains and loses, with intervals over seeds."""
    told = []
    for name, trade in zip(("precision", "recall"), summary["trade"], strict=False):
        between = "" if trade["low"] is None else f" ({trade['low']:+.2f} to {trade['high']:+.2f})"
        over = f"{trade['selection']} over direct {trade['estimate']:+.2f} nats{between}"
        told.append(f"{name}: {over}")
    return told


def agreement(summary: dict[str, Any]) -> str:
    """What agrees with the paper, and what does not."""
    if not summary["trade"]:
        return "One seed says nothing about the paper's claim."
    precision, recall = summary["trade"]
    holds = [
        found["low"] is not None and found["low"] * sign > 0 and found["high"] * sign > 0
        for found, sign in ((precision, 1), (recall, -1))
    ]
    told = {
        (True, True): "Agrees with the paper: a sharper teacher buys precision with recall.",
        (True, False): "Precision rises as in the paper, recall does not fall clearly.",
        (False, True): "Recall falls as in the paper, precision does not rise clearly.",
        (False, False): "Neither side of the paper's trade is clear in this setting.",
    }[holds[0], holds[1]]
    return (
        f"{told} Its published precision is the likelihood under the sharpened teacher, not under "
        "the truth; the columns 'as coded' have ours of that kind."
    )


def _table(rows: Sequence[Row]) -> Table:
    heads = (
        "precision",
        "recall",
        "precision\nas coded",
        "recall\nas coded",
        "entropy of\nweights",
    )
    table = tight_table(
        "Mean log-likelihood of a point in nats, over seeds, ± spread [published]",
        Column("beta"),
        *of_numbers(*heads),
    )
    for row in rows:
        beta = "direct" if row["beta"] is None else f"{row['beta']:g}"
        table.add_row(beta, *(_spread(row, name) for name in COLUMNS))
    return table


def _spread(row: Row, name: str) -> str:
    mean, spread, published = (row[f"{name}_{part}"] for part in ("mean", "std", "published"))
    told = cell(mean, ".2f") + (f" ± {spread:.2f}" if spread is not None else "")
    return told + (f" [{published:.2f}]" if published is not None else "")
