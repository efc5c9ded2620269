"""Methods by how many labels they may read: the runs, the choice of rates, the table, the picture.

    python -m scripts.label_budgets runs --tune | xargs -P 2 -I {} sh -c '{}'
    python -m scripts.label_budgets runs | xargs -P 2 -I {} sh -c '{}'
    python -m scripts.label_budgets table --picture docs/labels.png

One rule for all: a method's rate, at each budget, is the one with the best validation accuracy of
its last weights on seed 100 (call the first line until it prints nothing). Seeds 0, 1 and 2 are
then trained with it and measured on the test split. Differences to SFT are paired over examples,
seeds held fixed.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from distillkit.core.reading import read_json_lines
from distillkit.core.rundir import WAY_OUT, RunDirectory
from distillkit.core.shapes import TrainSummary, Verdict
from distillkit.programs.budget import costs_of
from distillkit.programs.standing import METRICS, VERDICTS
from distillkit.report.style import LIGHT, drawing
from distillkit.statistics.paired import bootstrap_difference

RATES = ("3e-5", "1e-4", "3e-4", "1e-3", "3e-3")
FIRST = RATES[1:4]
"""Rates that are always tried; where the best is at an end, the next beyond is tried too."""

SEEDS, TUNING = (0, 1, 2), 100
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

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Output = Annotated[str, typer.Option(help="Where the run directories go.")]
Steps = Annotated[int, typer.Option(help="Updates of every run.")]


@dataclass(frozen=True, slots=True)
class Cell:
    """A method with a budget of labels."""

    method: str
    labels: int

    @property
    def slug(self) -> str:
        """Beginning of its runs' names."""
        return f"{re.sub('[^a-z]+', '-', self.method.lower())}-{self.labels}"

    def name(self, rate: str, seed: int, steps: int) -> str:
        """Of a run."""
        return f"{self.slug}-{rate}-{steps}-{seed}"

    def run(self, output: str, rate: str, seed: int, steps: int) -> RunDirectory:
        """A run's directory."""
        place = Path(output) / "train" / self.name(rate, seed, steps)
        return RunDirectory(place, shape=TrainSummary)

    def command(self, output: str, rate: str, seed: int, steps: int) -> str:
        """What trains one run; on the tuning seed nothing is read but validation."""
        if seed == TUNING:
            measured = f"evaluation.every={steps} evaluation.validation=500 evaluation.test=0"
        else:
            measured = "evaluation.every=0"
        words = [
            *METHODS[self.method].split(),
            f"dataset.labelled={self.labels}",
            f"name={self.name(rate, seed, steps)}",
            f"output={output}",
            f"optimizer.lr={rate}",
            f"seed={seed}",
            f"steps={steps}",
            *measured.split(),
            "tracker=none",
        ]
        return f"distillkit train {shlex.join(words)}"


def cells() -> Iterator[Cell]:
    """All rows of the table."""
    for method in METHODS:
        for labels in BUDGETS if method in READERS else (0,):
            yield Cell(method, labels)


def chosen(cell: Cell, output: str, steps: int) -> str:
    """The rate with the best validation accuracy on the tuning seed; the lower one of equals."""
    scores = _scores(cell, output, steps)
    if left := untried(cell, output, steps):
        raise SystemExit(f"{cell.slug} has not been tried with {', '.join(left)}: tune first.")
    return max(scores, key=lambda rate: scores[rate])


def untried(cell: Cell, output: str, steps: int) -> list[str]:
    """Rates that are still to be tried before one is chosen."""
    scores = _scores(cell, output, steps)
    if left := [rate for rate in FIRST if rate not in scores]:
        return left
    at = RATES.index(max(scores, key=lambda rate: scores[rate]))
    return [rate for rate in RATES[max(0, at - 1) : at + 2] if rate not in scores]


def _scores(cell: Cell, output: str, steps: int) -> dict[str, float]:
    scores = {}
    for rate in RATES:
        run = cell.run(output, rate, TUNING, steps)
        if run.summary is not None:
            rows = read_json_lines(run.path / METRICS, dict[str, float], way_out=WAY_OUT)
            scores[rate] = rows[-1]["validation/accuracy"]
    return scores


@app.command()
def runs(tune: bool = False, output: Output = "outputs/labels", steps: Steps = 250) -> None:
    """Print the commands of all runs; with --tune, those that are left before rates are chosen."""
    for cell in cells():
        if tune:
            for rate in untried(cell, output, steps):
                print(cell.command(output, rate, TUNING, steps))
        else:
            rate = chosen(cell, output, steps)
            for seed in SEEDS:
                print(cell.command(output, rate, seed, steps))


@app.command()
def table(
    output: Output = "outputs/labels",
    steps: Steps = 250,
    picture: Annotated[Path | None, typer.Option(help="A PNG to draw.")] = None,
) -> None:
    """Print the table as Markdown, and draw accuracy against labels."""
    found = {cell: _runs(cell, output, steps) for cell in cells()}
    sft = {cell.labels: right(each) for cell, each in found.items() if cell.method == "SFT"}
    heads = [f"over SFT on {labels:,}" for labels in BUDGETS]
    columns = ["method", "labels", "teacher wrote, read", "s", "rate", "seeds", "mean", *heads]
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for cell, each in found.items():
        against = (cell.labels,) if cell.method in READERS else BUDGETS
        gains = [
            _gain(right(each), sft[labels]) if labels in against and cell.method != "SFT" else ""
            for labels in BUDGETS
        ]
        print("| " + " | ".join([*_row(cell, each, chosen(cell, output, steps)), *gains]) + " |")
    if picture is not None:
        start = next(iter(found.values()))[0].summary["student_before"]["accuracy"]
        _draw({cell: right(each).mean(0) for cell, each in found.items()}, start, picture)


def _runs(cell: Cell, output: str, steps: int) -> list[RunDirectory]:
    rate = chosen(cell, output, steps)
    found = [cell.run(output, rate, seed, steps) for seed in SEEDS]
    for run in found:
        if run.summary is None:
            raise SystemExit(f"{run.path} is not finished.")
        run.check_left(VERDICTS)
    return found


def right(found: Sequence[RunDirectory]) -> np.ndarray:
    """Whether each test example was answered rightly [examples, seeds]."""
    columns = []
    for run in found:
        rows = read_json_lines(run.path / VERDICTS, Verdict, way_out=WAY_OUT)
        columns.append([row["student"] for row in sorted(rows, key=lambda row: row["id"])])
    return np.array(columns, dtype=float).T


def _row(cell: Cell, found: Sequence[RunDirectory], rate: str) -> list[str]:
    summaries: list[dict[str, Any]] = [run.summary or {} for run in found]
    _, _, wrote, read, _ = costs_of(summaries[0])
    seconds = np.mean([summary["training_seconds"] for summary in summaries])
    shares = 100 * right(found).mean(0)
    each = ", ".join(f"{share:.1f}" for share in shares)
    labels = f"{cell.labels:,}"
    return [cell.method, labels, f"{wrote}, {read}", f"{seconds:.0f}", rate, each,
            f"{shares.mean():.1f} %"]  # fmt: skip


def _gain(left: np.ndarray, against: np.ndarray) -> str:
    ones = np.ones(len(left))
    found = bootstrap_difference((left.mean(1), ones), (against.mean(1), ones))
    assert found.low is not None
    assert found.high is not None
    return f"{100 * found.estimate:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f})"


def _draw(shares: dict[Cell, np.ndarray], start: float, file: Path) -> None:
    """Accuracy against labels; methods that read none are level lines, dots are single seeds."""
    with drawing():
        figure = Figure(figsize=(7.5, 4.2), layout="constrained")
        axes = figure.add_subplot()
        ends: dict[str, float] = {}
        for at, method in enumerate(METHODS):
            colour = LIGHT[f"c{at % 8}"]
            own = {
                cell.labels: 100 * all_ for cell, all_ in shares.items() if cell.method == method
            }
            means = [each.mean() for each in own.values()]
            ends[method] = means[-1]
            if method not in READERS:
                axes.axhline(means[0], color=colour, linestyle="--", linewidth=1)
                continue
            axes.plot(list(own), means, color=colour, marker="o")
            for labels, each in own.items():
                axes.plot([labels] * len(each), each, ".", color=colour, markersize=3)
        axes.axhline(100 * start, color=LIGHT["muted"], linestyle=":", linewidth=1)
        _name_lines(axes, ends | {"student before": 100 * start})
        axes.set_xscale("log")
        axes.set_xticks(BUDGETS, [f"{labels:,}" for labels in BUDGETS])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("gold labels (dashed: methods that read none)")
        axes.set_ylabel("accuracy, %")
        figure.savefig(file, dpi=160)


def _name_lines(axes: Axes, ends: dict[str, float]) -> None:
    """Names beside the lines' right ends, moved up where they would lie on each other."""
    low, high = axes.get_ylim()
    least, place = (high - low) / 25, -np.inf
    colours = [*(LIGHT[f"c{at % 8}"] for at in range(len(METHODS))), LIGHT["muted"]]
    named = sorted(zip(ends.items(), colours, strict=True), key=lambda each: each[0][1])
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
