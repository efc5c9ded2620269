"""Does a student of bytes learn more of a teacher of words by chunks than by text alone?

    python -m scripts.byte_student
    distillkit train experiment=sft teacher=null student=hf student.name=outputs/models/bytes \\
      dataset.train=20000 steps=1000 optimizer.lr=2e-3 rollout.max_new_tokens=96 name=start
    cp -r outputs/train/start/student outputs/models/bytes_started
    python -m scripts.foreign_table runs --tune | sh
    python -m scripts.foreign_table runs | sh
    python -m scripts.foreign_table table
    python -m scripts.foreign_table bits outputs/train/one outputs/train/another

No method reads a label. All begin with one student, on the same prompts, for the same number of
updates; ``scripts/tuned.py`` has the rule by which rates are chosen. The last line sets finished
runs on running text side by side: bits of a byte by ``distillkit eval metric=perplexity``, which
makes them comparable whatever their tokenizers are, with differences paired over the passages.
"""

import re
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from distillkit.core.reading import read_json_lines
from distillkit.core.rundir import WAY_OUT
from distillkit.programs.study.order.outcomes import right
from distillkit.statistics.paired import bootstrap_difference
from scripts.tuned import Cell, gain, print_commands, print_row, shares

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
Seeds = Annotated[int, typer.Option(help="Measured runs of a row.")]


def cells(output: str, steps: int, seeds: int) -> dict[str, Cell]:
    """By method."""
    made = {}
    for method, own in METHODS.items():
        slug = re.sub("[^a-z0-9]+", "-", method.lower())
        typed = f"{own} {START} dataset.labelled=0"
        made[method] = Cell(slug, typed, output, steps, tuple(range(seeds)))
    return made


@app.command()
def runs(
    tune: bool = False, output: Output = "outputs/foreign", steps: Steps = 80, seeds: Seeds = 1
) -> None:
    """Print the commands of all runs; with --tune, those that are left before rates are chosen."""
    print_commands(cells(output, steps, seeds).values(), tune=tune)


@app.command()
def table(output: Output = "outputs/foreign", steps: Steps = 80, seeds: Seeds = 1) -> None:
    """Print the table as Markdown; differences are paired over examples, seeds held fixed."""
    columns = ["method", "rate", "seeds", "mean", f"over {AGAINST}", "seconds"]
    print_row(columns)
    print("|" + "---|" * len(columns))
    rows = cells(output, steps, seeds)
    for method, cell in rows.items():
        found = right(cell.finished())
        more = "" if method == AGAINST else gain(found, right(rows[AGAINST].finished()))
        print_row([method, cell.rate(), *shares(found), more, f"{cell.seconds():.0f}"])


@app.command()
def bits(
    runs: Annotated[list[Path], typer.Argument(help="Run directories that were evaluated.")],
) -> None:
    """Bits of a byte of the references of each run, and how much less than the first one's."""
    known = {run.name: _passages(run) for run in runs}
    first = next(iter(known.values()))
    print_row(["run", "bits / byte", "less than the first"])
    print("|---|---|---|")
    for name, (found_bits, size) in known.items():
        found = bootstrap_difference(first, (found_bits, size))
        told = f"{found.estimate:+.4f} ({found.low:+.4f} to {found.high:+.4f})"
        print_row([name, f"{found_bits.sum() / size.sum():.4f}", told])


def _passages(run: Path) -> tuple[np.ndarray, np.ndarray]:
    """Bits and bytes of each passage's reference [n], by the trained student."""
    file = run / "evaluation" / "test" / "records.jsonl"
    rows = read_json_lines(file, dict[str, Any], way_out=WAY_OUT)
    read = np.array([row["student"]["perplexity"]["dataset"] for row in rows])
    return read[:, 0] / np.log(2), read[:, 2]


if __name__ == "__main__":
    app()
