"""Methods by how many labels they may read: the runs, the choice of rates, the table, the picture.

    python -m scripts.label_budgets runs --tune | xargs -P 2 -I {} sh -c '{}'
    python -m scripts.label_budgets runs | xargs -P 2 -I {} sh -c '{}'
    python -m scripts.label_budgets table
    python -m scripts.label_budgets picture docs/labels.png

``scripts/tuned.py`` has the rule by which rates are chosen (call the first line until it prints
nothing). With ``--equal-time`` every method takes as many updates, to the nearest 50, as fit into
the seconds of on-policy reverse KL; what a step takes is read from the runs at equal steps. The
picture shows both.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from distillkit.programs.train.budget import costs_of
from distillkit.report.style import LIGHT, drawing
from scripts.tuned import Cell, gain, print_commands, print_row, right, shares

BUDGETS = (100, 500, 2000)
METHODS = {
    "SFT": "experiment=sft",
    "supervised KD": "experiment=supervised_kd",
    "mixed": "experiment=imitkd",
    "SeqKD": "experiment=seqkd",
    "KD on the teacher's text": "experiment=supervised_kd policy=seq_kd",
    "on-policy, forward KL": "experiment=on_policy_kd",
    "on-policy, reverse KL": "experiment=on_policy_kd divergence=reverse_kl",
    "on-policy, JSD": "experiment=on_policy_kd divergence=jsd",
    "MiniLLM": "experiment=minillm",
}
READERS = ("SFT", "supervised KD", "mixed")
"""Methods that the dataset writes for; the others see no label, whatever the budget."""

KEPT = ("SeqKD", "KD on the teacher's text")
"""Methods whose text the teacher writes once, before the first update of the first run."""

COLOURS = [*(LIGHT[f"c{at}"] for at in range(8)), LIGHT["ink"], LIGHT["muted"]]
"""Of the methods in their order, and of the student before."""

CLOCK = "on-policy, reverse KL"
"""Whose seconds all methods get at equal time."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Output = Annotated[str, typer.Option(help="Where the run directories go.")]
Steps = Annotated[int, typer.Option(help="Updates of every run at equal steps.")]
EqualTime = Annotated[bool, typer.Option(help="Updates that fit into equal seconds.")]
Writing = Annotated[float, typer.Option(help="Seconds in which the teacher writes its text.")]

Row = tuple[str, int]
"""A method with a budget of labels."""


def rows(
    output: str, steps: int, *, equal_time: bool, writing: float
) -> Iterator[tuple[Row, Cell]]:
    """All rows of the table."""
    clock = _cell((CLOCK, 0), output, steps).seconds() if equal_time else 0.0
    for method in METHODS:
        for labels in BUDGETS if method in READERS else (0,):
            cell = _cell((method, labels), output, steps)
            if equal_time:
                left = clock - (writing if method in KEPT else 0)
                fit = 50 * round(steps * left / cell.seconds() / 50)
                cell = _cell((method, labels), output, fit)
            yield (method, labels), cell


def _cell(row: Row, output: str, steps: int) -> Cell:
    method, labels = row
    slug = f"{re.sub('[^a-z]+', '-', method.lower())}-{labels}"
    return Cell(slug, f"{METHODS[method]} dataset.labelled={labels}", output, steps)


@app.command()
def runs(
    tune: bool = False,
    output: Output = "outputs/labels",
    steps: Steps = 250,
    equal_time: EqualTime = False,
    writing: Writing = 0.0,
) -> None:
    """Print the commands of all runs; with --tune, those that are left before rates are chosen."""
    found = rows(output, steps, equal_time=equal_time, writing=writing)
    print_commands([cell for _, cell in found], tune=tune)


@app.command()
def table(
    output: Output = "outputs/labels",
    steps: Steps = 250,
    equal_time: EqualTime = False,
    writing: Writing = 0.0,
) -> None:
    """Print the table as Markdown."""
    cells = dict(rows(output, steps, equal_time=equal_time, writing=writing))
    found = {row: right(cell.finished()) for row, cell in cells.items()}
    heads = [f"over SFT on {labels:,}" for labels in BUDGETS]
    columns = ["method", "labels", "teacher wrote, read", "steps", "s", "rate", "seeds", "mean"]
    print_row([*columns, *heads])
    print("|" + "---|" * len([*columns, *heads]))
    for (method, labels), each in found.items():
        against = (labels,) if method in READERS else BUDGETS
        gains = [
            gain(each, found["SFT", budget]) if budget in against and method != "SFT" else ""
            for budget in BUDGETS
        ]
        print_row([method, f"{labels:,}", *_costs(cells[method, labels]), *shares(each), *gains])


def _costs(cell: Cell) -> list[str]:
    _, _, wrote, read, _ = costs_of(cell.finished()[0].summary or {})
    return [f"{wrote}, {read}", str(cell.steps), f"{cell.seconds():.0f}", cell.rate()]


@app.command()
def picture(
    file: Annotated[Path, typer.Argument(help="A PNG to draw.")],
    output: Output = "outputs/labels",
    steps: Steps = 250,
    writing: Writing = 0.0,
) -> None:
    """Draw accuracy against labels, at equal steps and at equal time."""
    with drawing():
        figure = Figure(figsize=(12, 4.4), layout="constrained")
        panels, ends = figure.subplots(1, 2, sharey=True), []
        for axes, equal_time in zip(panels, (False, True), strict=True):
            cells = dict(rows(output, steps, equal_time=equal_time, writing=writing))
            summary = next(iter(cells.values())).finished()[0].summary or {}
            accuracy = {row: right(cell.finished()).mean(0) for row, cell in cells.items()}
            ends.append(_draw(axes, accuracy, summary["student_before"]["accuracy"]))
            axes.set_title("equal time" if equal_time else f"equal steps ({steps})")
        for axes, named in zip(panels, ends, strict=True):
            _name_lines(axes, named)
        figure.savefig(file, dpi=140)


def _draw(axes: Axes, accuracy: dict[Row, np.ndarray], start: float) -> dict[str, float]:
    """Draw level lines for methods that read no label, and dots for single seeds.

    Returns:
        Where each line ends.
    """
    ends: dict[str, float] = {}
    for at, method in enumerate(METHODS):
        colour = COLOURS[at]
        own = {row[1]: 100 * each for row, each in accuracy.items() if row[0] == method}
        means = [each.mean() for each in own.values()]
        ends[method] = means[-1]
        if method not in READERS:
            axes.axhline(means[0], color=colour, linestyle="--", linewidth=1)
            continue
        axes.plot(list(own), means, color=colour, marker="o")
        for labels, each in own.items():
            axes.plot([labels] * len(each), each, ".", color=colour, markersize=3)
    axes.axhline(100 * start, color=LIGHT["muted"], linestyle=":", linewidth=1)
    axes.set_xscale("log")
    axes.set_xticks(BUDGETS, [f"{labels:,}" for labels in BUDGETS])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("gold labels (dashed: methods that read none)")
    axes.set_ylabel("accuracy, %")
    return ends | {"student before": 100 * start}


def _name_lines(axes: Axes, ends: dict[str, float]) -> None:
    """Names beside the lines' right ends, moved up where they would lie on each other."""
    low, high = axes.get_ylim()
    least, place = (high - low) / 25, -np.inf
    named = sorted(zip(ends.items(), COLOURS, strict=True), key=lambda each: each[0][1])
    for (name, end), colour in named:
        place = max(end, place + least)
        axes.annotate(
            name,
            (1, end),
            xytext=(1.06, place),
            xycoords=("axes fraction", "data"),
            textcoords=("axes fraction", "data"),
            color=colour,
            va="center",
            fontsize=8,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "relpos": (0, 0.5)},
        )


if __name__ == "__main__":
    app()
