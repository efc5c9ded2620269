"""Two specialists, a domain each: what does a student of both domains learn from whom?

    python -m scripts.two_teachers specialists | xargs -P 2 -I {} sh -c '{}'
    python -m scripts.two_teachers runs --tune | xargs -P 2 -I {} sh -c '{}'
    python -m scripts.two_teachers runs | xargs -P 2 -I {} sh -c '{}'
    python -m scripts.two_teachers table

The specialists are the embedded teacher, taught one domain until it has forgotten the other. Every
student learns on its own text for the prompts of both domains, reads no label, and is measured on
the test split of both. ``scripts/tuned.py`` has the rule by which rates are chosen: call the second
line until it prints nothing.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from distillkit.core.reading import read_json_lines
from distillkit.core.rundir import WAY_OUT
from distillkit.core.shapes import Verdict
from distillkit.datasets.mixed import BETWEEN
from distillkit.programs.study.order.outcomes import right
from distillkit.programs.train.standing import VERDICTS
from scripts.tuned import SEEDS, Cell, gain, print_commands, print_row, shares

DOMAINS = {"market": "arithmetic", "journey": "journey"}
"""Datasets by the names of parts and members."""

BOTH = " ".join(f"+dataset@dataset.parts.{name}={dataset}" for name, dataset in DOMAINS.items())

SPECIALIST = (
    "objective=sft policy=off_policy teacher=null student.name=embedded:teacher dataset.train=8000 "
    "steps=400 optimizer.lr=1e-3 evaluation.every=0 evaluation.test=1000 tracker=none"
)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Output = Annotated[str, typer.Option(help="Where the run directories go.")]
Steps = Annotated[int, typer.Option(help="Updates of every student.")]
Seeds = Annotated[int, typer.Option(help="Measured runs of a row.")]


def teachers(output: str) -> dict[str, str]:
    """What is typed for each choice of teachers."""
    place = {
        name: f"{Path(output) / 'train' / f'specialist-{name}' / 'student'}" for name in DOMAINS
    }
    alone = {
        f"the {name} teacher alone": f"teacher=hf teacher.prompt=plain teacher.name={place[name]}"
        for name in DOMAINS
    }
    several = "teacher=several " + " ".join(
        f"+teacher@teacher.members.{name}=hf teacher.members.{name}.prompt=plain "
        f"teacher.members.{name}.name={place[name]}"
        for name in DOMAINS
    )
    weights = " ".join(f"+teacher.weights.{name}=0.5" for name in DOMAINS)
    return {
        **alone,
        "both, mixed 0.5 and 0.5": f"{several} {weights}",
        "both, routed": f"{several} teacher.route.field=part",
        "the embedded teacher": "teacher=embedded",
    }


def cells(output: str, steps: int, seeds: int) -> Iterator[tuple[str, Cell]]:
    """Choice of teachers and cell of every row."""
    for name, typed in teachers(output).items():
        slug = name.replace(",", "").replace(".", "").replace(" ", "-")
        overrides = f"policy=on_policy dataset=mixed dataset.labelled=0 {BOTH} {typed}"
        yield name, Cell(slug, overrides, output, steps, SEEDS[:seeds])


@app.command()
def specialists(output: Output = "outputs/two_teachers") -> None:
    """Print the commands that train the two teachers."""
    for name, dataset in DOMAINS.items():
        typed = f"dataset={dataset} {SPECIALIST} output={output} name=specialist-{name}"
        print(f"distillkit train {typed}")


@app.command()
def runs(
    tune: bool = False,
    output: Output = "outputs/two_teachers",
    steps: Steps = 250,
    seeds: Seeds = 3,
) -> None:
    """Print the commands of all runs; with --tune, those that are left before rates are chosen."""
    print_commands([cell for _, cell in cells(output, steps, seeds)], tune=tune)


@app.command()
def table(output: Output = "outputs/two_teachers", steps: Steps = 250, seeds: Seeds = 3) -> None:
    """Print the table as Markdown; differences are paired over examples, seeds held fixed."""
    columns = ["learned from", "rate", *DOMAINS, "both, by seed", "mean", "routed is over it by"]
    print_row(columns)
    print("|" + "---|" * len(columns))
    found = dict(cells(output, steps, seeds))
    verdicts = {name: right(cell.finished()) for name, cell in found.items()}
    for name, each in verdicts.items():
        over = "" if name == "both, routed" else gain(verdicts["both, routed"], each)
        parts = parts_of(found[name])
        domains = [f"{100 * each[parts == domain].mean():.1f} %" for domain in DOMAINS]
        print_row([name, found[name].rate(), *domains, *shares(each), over])


def parts_of(cell: Cell) -> np.ndarray:
    """The part that each test example of a cell is of."""
    rows = read_json_lines(cell.finished()[0].path / VERDICTS, Verdict, way_out=WAY_OUT)
    return np.array([row["id"].partition(BETWEEN)[0] for row in rows])


if __name__ == "__main__":
    app()
