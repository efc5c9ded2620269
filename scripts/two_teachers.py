"""Two specialists, a domain each: what does a student of both domains learn from whom?

    python -m scripts.two_teachers specialists | xargs -P 2 -I {} sh -c '{}'
    python -m scripts.two_teachers runs --tune | xargs -P 2 -I {} sh -c '{}'
    python -m scripts.two_teachers runs | xargs -P 2 -I {} sh -c '{}'
    python -m scripts.two_teachers table

The specialists are the embedded teacher, taught one domain until it has forgotten the other. Every
student learns on its own text for the prompts of both domains, reads no label, and is measured on
test problems of both. All have one learning rate, the one with which the two that learn from one
teacher do best on validation: call the second line until it prints nothing. ``scripts/tuned.py``
says which rates are tried.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from distillkit.core.reading import read_json_lines
from distillkit.core.rundir import WAY_OUT, RunDirectory
from distillkit.core.shapes import Verdict
from distillkit.datasets.mixed import BETWEEN
from distillkit.programs.study.order.outcomes import right
from distillkit.programs.study.order.rates import best
from distillkit.programs.train.standing import VERDICTS
from scripts.tuned import RATES, SEEDS, Cell, gain, print_commands, print_row, shares

DOMAINS = {"market": "arithmetic", "journey": "journey"}
"""Datasets by the names of parts and members."""

BOTH = " ".join(f"+dataset@dataset.parts.{name}={dataset}" for name, dataset in DOMAINS.items())

ALONE = tuple(f"the {name} teacher alone" for name in DOMAINS)
ROUTED = "both, routed"

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
        called: f"teacher=hf teacher.prompt=plain teacher.name={place[name]}"
        for called, name in zip(ALONE, DOMAINS, strict=True)
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
        ROUTED: f"{several} teacher.route.field=part",
    }


def cells(output: str, steps: int, seeds: int) -> Iterator[tuple[str, Cell]]:
    """Choice of teachers and cell of every row."""
    for name, typed in teachers(output).items():
        slug = name.replace(",", "").replace(".", "").replace(" ", "-")
        overrides = (
            f"policy=on_policy dataset=mixed dataset.labelled=0 dataset.test=1000 {BOTH} {typed}"
        )
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
    """Print the commands of all runs; with --tune, those that are left before a rate is chosen."""
    found = dict(cells(output, steps, seeds))
    if tune:
        print_commands([found[name] for name in ALONE], tune=True)
        return
    rate = rate_of(found)
    for seed in SEEDS[:seeds]:
        for cell in found.values():
            print(cell.command(rate, seed))


@app.command()
def table(output: Output = "outputs/two_teachers", steps: Steps = 250, seeds: Seeds = 3) -> None:
    """Print the table as Markdown; differences are paired over examples, seeds held fixed."""
    columns = ["learned from", *DOMAINS, "both, by seed", "mean", "routed is over it by"]
    print_row(columns)
    print("|" + "---|" * len(columns))
    found = dict(cells(output, steps, seeds))
    rate = rate_of(found)
    finished = {name: [cell.run(rate, n) for n in cell.seeds] for name, cell in found.items()}
    verdicts = {name: right(each) for name, each in finished.items()}
    for name, each in verdicts.items():
        over = "" if name == ROUTED else gain(verdicts[ROUTED], each)
        parts = parts_of(finished[name][0])
        domains = [f"{100 * each[parts == domain].mean():.1f} %" for domain in DOMAINS]
        print_row([name, *domains, *shares(each), over])
    print(f"\noptimizer.lr={rate}, {len(parts)} test problems")


def rate_of(found: Mapping[str, Cell]) -> str:
    """The rate with the best mean validation accuracy of those that learn from one specialist."""
    tried = [found[name].scores() for name in ALONE]
    if any(found[name].untried() for name in ALONE):
        raise SystemExit("rates are left to be tried: tune first.")
    both = [rate for rate in RATES if all(rate in scores for scores in tried)]
    return best({rate: sum(scores[rate] for scores in tried) for rate in both}, RATES)


def parts_of(run: RunDirectory) -> np.ndarray:
    """The part that each test example is of."""
    rows = read_json_lines(run.path / VERDICTS, Verdict, way_out=WAY_OUT)
    return np.array([row["id"].partition(BETWEEN)[0] for row in rows])


if __name__ == "__main__":
    app()
