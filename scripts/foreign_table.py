"""Does a student of bytes learn more of a teacher of words by chunks than by text alone?

    python -m scripts.byte_student
    distillkit train experiment=sft teacher=null student=hf student.name=outputs/models/bytes \\
      dataset.train=20000 steps=1000 optimizer.lr=2e-3 rollout.max_new_tokens=96 name=start
    cp -r outputs/train/start/student outputs/models/bytes_started
    python -m scripts.foreign_table runs | sh     # again and again, until it prints nothing
    python -m scripts.foreign_table measure | sh
    python -m scripts.foreign_table table
    python -m scripts.foreign_table bits outputs/train/one outputs/train/another

No method reads a label. All begin with one student, on the same prompts, for the same number of
updates; ``scripts/tuned.py`` has the rule by which rates are chosen, on validation, and those very
runs are measured on the test split, which no choice has seen. The last line sets any evaluated runs
side by side: bits of a byte by ``distillkit eval metric=perplexity``, which makes them comparable
whatever their tokenizers are, with differences paired over the examples.
"""

import re
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from distillkit.core.reading import read_json_lines
from distillkit.core.rundir import WAY_OUT
from distillkit.statistics.finding import Finding
from distillkit.statistics.paired import bootstrap_difference, mcnemar
from scripts.tuned import TUNING, Cell, print_commands, print_row

START = "student=hf student.name=outputs/models/bytes_started rollout.max_new_tokens=96"
METHODS = {
    "SeqKD": "objective=sft policy=seq_kd",
    "SeqKD and chunks": "objective=kd policy=seq_kd support=aligned",
    "SeqKD and ULD": "objective=kd policy=seq_kd support=ranked divergence=tvd",
    "on-policy, chunks": "policy=on_policy support=aligned divergence=reverse_kl",
}
AGAINST = "SeqKD"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Output = Annotated[str, typer.Option(help="Where the run directories go.")]
Steps = Annotated[int, typer.Option(help="Updates of every run.")]


def cells(output: str, steps: int) -> dict[str, Cell]:
    """By method."""
    made = {}
    for method, own in METHODS.items():
        slug = re.sub("[^a-z0-9]+", "-", method.lower())
        made[method] = Cell(slug, f"{own} {START} dataset.labelled=0", output, steps)
    return made


def chosen(output: str, steps: int) -> dict[str, Path]:
    """The run with the best rate, by method."""
    each = cells(output, steps).items()
    return {method: cell.run(cell.rate(), TUNING).path for method, cell in each}


@app.command()
def runs(output: Output = "outputs/foreign", steps: Steps = 80) -> None:
    """Print the commands of runs that are left before rates are chosen."""
    print_commands(cells(output, steps).values(), tune=True)


@app.command()
def measure(output: Output = "outputs/foreign", steps: Steps = 80) -> None:
    """Print the commands that measure the chosen runs on the test split."""
    metrics = "'metric=[accuracy,perplexity]' 'metric.perplexity.texts=[dataset]' samples=1"
    for run in chosen(output, steps).values():
        print(f"distillkit eval run={run} {metrics}")


@app.command()
def table(output: Output = "outputs/foreign", steps: Steps = 80) -> None:
    """Print the table as Markdown; differences are paired over examples."""
    heads = ["method", "run", "accuracy", f"over {AGAINST}", "bits / byte", f"less than {AGAINST}"]
    print_row(heads)
    print("|" + "---|" * len(heads))
    found = chosen(output, steps)
    best, first = _right(found[AGAINST]), _passages(found[AGAINST])
    for method, run in found.items():
        right, read = _right(run), _passages(run)
        more = _told(mcnemar(right, best), "+.1f", 100)
        cells = [f"{100 * right.mean():.1f} %", more, f"{read[0].sum() / read[1].sum():.4f}"]
        print_row([method, run.name, *cells, _told(bootstrap_difference(first, read), "+.4f")])


@app.command()
def bits(
    runs: Annotated[list[Path], typer.Argument(help="Run directories that were evaluated.")],
) -> None:
    """Bits of a byte of the references of each run, and how much less than the first one's."""
    first = _passages(runs[0])
    print_row(["run", "bits / byte", "less than the first"])
    print("|---|---|---|")
    for run in runs:
        read = _passages(run)
        less = _told(bootstrap_difference(first, read), "+.4f")
        print_row([run.name, f"{read[0].sum() / read[1].sum():.4f}", less])


def _told(found: Finding, how: str, scale: float = 1.0) -> str:
    """A difference with its interval."""
    return "{:{how}} ({:{how}} to {:{how}})".format(
        *(scale * each for each in (found.estimate, found.low or 0.0, found.high or 0.0)), how=how
    )


def _right(run: Path) -> np.ndarray:
    """Whether the trained student is right on each example [n]."""
    return np.array([row["student"]["accuracy"]["accuracy"][0] for row in _records(run)])


def _passages(run: Path) -> tuple[np.ndarray, np.ndarray]:
    """Bits and bytes of each example's reference [n], by the trained student."""
    read = np.array([row["student"]["perplexity"]["dataset"] for row in _records(run)])
    return read[:, 0] / np.log(2), read[:, 2]


def _records(run: Path) -> list[dict[str, Any]]:
    file = run / "evaluation" / "test" / "records.jsonl"
    return read_json_lines(file, dict[str, Any], way_out=WAY_OUT)


if __name__ == "__main__":
    app()
