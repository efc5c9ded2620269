"""``python -m scripts.bench [loss] [step] [ragged] [pair] ...``: time and memory.

Distillkit beside other libraries, and its objectives beside each other. ``make bench`` installs the
peers into an environment of their own and runs everything; the real pair after ``make smollm``.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from scripts.bench import accounts, documents, loss, objectives, report, steps
from scripts.bench.compare import Comparison, Options
from scripts.bench.measure import THREADS
from scripts.bench.pair import REAL

BENCHMARKS: dict[str, Callable[[Options, Console], Comparison]] = {
    "loss": loss.run,
    "step": steps.run_step,
    "ragged": steps.run_ragged,
    "long": steps.run_long,
    "documents": documents.run,
    "pair": steps.run_pair,
    "pair_documents": documents.run_pair,
    "accounts": accounts.run,
    "pair_accounts": accounts.run_pair,
    "objectives": objectives.run,
}
"""A new benchmark is one line here and a file beside this one."""

BUSY = 0.2
"""Cores that others keep busy above which a warning is printed."""


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Which; all if none.")] = None,
    quick: Annotated[bool, typer.Option(help="Tiny shapes: a smoke test.")] = False,
    rounds: Annotated[int, typer.Option(help="Turns of each contender.", min=1)] = 3,
    divergence: Annotated[str, typer.Option(help="Of whole steps: jsd or reverse_kl.")] = "jsd",
    precision: Annotated[str, typer.Option(help="Of whole steps: fp32 or bf16.")] = "fp32",
    group: Annotated[int, typer.Option(help="Responses a prompt, of whole steps.", min=1)] = 1,
    output: Annotated[Path | None, typer.Option(help="Folder of the results.")] = None,
) -> None:
    """Print ratios to the peers, and keep all raw numbers and a picture."""
    for name in names or ():
        if name not in BENCHMARKS:
            raise typer.BadParameter(f"{name} is none of {', '.join(BENCHMARKS)}")
    torch.set_num_threads(THREADS)
    steps.hush()
    console = Console()
    folder = output or Path("outputs/bench/quick" if quick else "outputs/bench")
    options = Options(quick, rounds, divergence, precision, group)
    real = all(map(Path.is_dir, REAL))
    possible = [name for name in BENCHMARKS if real or not name.startswith("pair")]
    for name in names or possible:
        surroundings = report.environment()
        if (others := surroundings["busy_cores_before"]) > BUSY:
            console.print(
                f"other work keeps {others:.1f} cores busy here: times are not to be trusted, "
                "ratios with care",
                style="yellow",
            )
        result = BENCHMARKS[name](options, console)
        console.print(f"{report.write(folder, name, result, surroundings)}", highlight=False)
    console.print(f"{report.picture(folder)}", highlight=False)


if __name__ == "__main__":
    typer.run(main)
