"""On equal prompts, is the student's own text worth more than the teacher's? Settings tried.

    python -m scripts.whose_text runs --tune | xargs -P 2 -I {} sh -c '{}'
    python -m scripts.whose_text runs | xargs -P 2 -I {} sh -c '{}'
    python -m scripts.whose_text errors | xargs -P 2 -I {} sh -c '{}'
    python -m scripts.whose_text table

No method but SFT reads a label. SeqKD learns the teacher's tokens, KD the teacher's opinion of the
teacher's text, on-policy KD its opinion of the student's. On the longest chains MiniLLM, which
credits a token with what comes after it, and its ablations stand beside them. ``scripts/tuned.py``
has the rule by which rates are chosen (call the first line until it prints nothing); the third line
measures ExAccErr.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from distillkit.core.reading import read_json
from distillkit.core.rundir import WAY_OUT
from distillkit.programs.study.order.outcomes import right
from scripts.tuned import SEEDS, Cell, gain, print_commands, print_row, shares

RESULTS = Path("evaluation") / "test" / "results.json"
METHODS = {
    "SeqKD": "experiment=seqkd dataset.labelled=0",
    "KD on the teacher's text": "experiment=supervised_kd policy=seq_kd dataset.labelled=0",
    "on-policy, reverse KL": "experiment=on_policy_kd divergence=reverse_kl dataset.labelled=0",
}
LONGEST = "market, 3 steps"
MINILLM = {
    "SFT, 2,000 labels": "experiment=sft",
    "MiniLLM": "experiment=minillm dataset.labelled=0",
    "MiniLLM, no single step": "experiment=minillm_no_single_step dataset.labelled=0",
    "MiniLLM, no teacher mixing": "experiment=minillm_no_teacher_mixing dataset.labelled=0",
    "MiniLLM, no length": "experiment=minillm_no_length_normalisation dataset.labelled=0",
    "MiniLLM, no pretraining": "experiment=minillm_no_pretraining dataset.labelled=0",
}
"""Besides, on the longest chains alone."""
SETTINGS = {
    LONGEST: "dataset.min_steps=3",
    "market, 100 prompts": "dataset.train=100",
    "market, 3 steps, 100 prompts": "dataset.min_steps=3 dataset.train=100",
    "journey": "dataset=journey",
}
"""``distillkit study order`` has the market as it is."""

LENGTH = 16
"""Tokens at which the excess error is told; most responses reach it."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Output = Annotated[str, typer.Option(help="Where the run directories go.")]
Steps = Annotated[int, typer.Option(help="Updates of every run.")]
Seeds = Annotated[int, typer.Option(help="Measured runs of a row.")]
Only = Annotated[list[str] | None, typer.Option("--only", help="A setting; all, if none is given.")]


def cells(
    output: str, steps: int, seeds: int, only: list[str] | None
) -> Iterator[tuple[str, str, Cell]]:
    """Setting, method and cell of every row."""
    for setting, overrides in SETTINGS.items():
        for method, own in (METHODS | (MINILLM if setting == LONGEST else {})).items():
            if not only or setting in only:
                slug = re.sub("[^a-z0-9]+", "-", f"{setting}-{method}".lower())
                typed = f"{own} {overrides}"
                yield setting, method, Cell(slug, typed, output, steps, SEEDS[:seeds])


@app.command()
def runs(
    tune: bool = False,
    output: Output = "outputs/whose_text",
    steps: Steps = 150,
    seeds: Seeds = 3,
    only: Only = None,
) -> None:
    """Print the commands of all runs; with --tune, those that are left before rates are chosen."""
    print_commands([cell for _, _, cell in cells(output, steps, seeds, only)], tune=tune)


@app.command()
def errors(
    output: Output = "outputs/whose_text", steps: Steps = 150, seeds: Seeds = 3, only: Only = None
) -> None:
    """Print the commands that measure the excess error of every finished run."""
    for _, _, cell in cells(output, steps, seeds, only):
        for run in cell.finished():
            print(f"distillkit eval run={run.path} metric=exposure_bias limit=200 samples=1")


@app.command()
def table(
    output: Output = "outputs/whose_text", steps: Steps = 150, seeds: Seeds = 3, only: Only = None
) -> None:
    """Print the table as Markdown; differences are paired over examples, seeds held fixed."""
    columns = ["setting", "start", "method", "rate", "seeds", "mean", "ExAccErr, start", "after"]
    rivals = ("SeqKD", "KD on the teacher's text", "MiniLLM")
    heads = [f"over {rival}" for rival in rivals]
    print_row([*columns, *heads])
    print("|" + "---|" * len([*columns, *heads]))
    found = {(setting, method): cell for setting, method, cell in cells(output, steps, seeds, only)}
    for (setting, method), cell in found.items():
        each = right(cell.finished())
        gains = [
            gain(each, right(found[setting, rival].finished()))
            if rival != method and (setting, rival) in found
            else ""
            for rival in rivals
        ]
        start = (cell.finished()[0].summary or {})["student_before"]["accuracy"]
        begun = [setting, f"{100 * start:.1f} %", method, cell.rate(), *shares(each)]
        print_row([*begun, *_excess(cell), *gains])


def _excess(cell: Cell) -> list[str]:
    """Mean over seeds of ExAccErr in per cent, of the student at the start and after training."""
    found = [read_json(run.path / RESULTS, dict, way_out=WAY_OUT) for run in cell.finished()]
    return [
        f"{np.mean([_number(each, side) for each in found]):+.0f}" for side in ("start", "student")
    ]


def _number(results: dict[str, Any], side: str) -> float:
    return results["numbers"][side]["exposure_bias"][f"ex_acc_err_{LENGTH}"]["value"]


if __name__ == "__main__":
    app()
