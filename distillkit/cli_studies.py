"""``distillkit study``: what papers found out about distillation, found out again."""

from pathlib import Path
from typing import Annotated, Any

import typer

study = typer.Typer(help="Whole studies, and their statistics.", no_args_is_help=True)
explanation = typer.Typer(
    help="Why distillation works: precision bought with recall (arXiv:2505.13111).",
    no_args_is_help=True,
)
study.add_typer(explanation, name="explanation")

Overrides = Annotated[
    list[str] | None, typer.Argument(help="Overrides of the study's fields, such as seeds=[0,1,2]")
]
ConfigDir = Annotated[
    Path | None, typer.Option(help="A folder of your own yaml files, searched beside the built-in.")
]
Plugins = Annotated[
    list[str] | None,
    typer.Option("--plugin", help="A Python file or module of your own components; repeatable."),
]


@explanation.command()
def mixture(
    overrides: Overrides = None, config_dir: ConfigDir = None, plugin: Plugins = None
) -> None:
    """Mixtures of Gaussians: a student of a teacher whose weights are sharpened by beta."""
    from distillkit.programs.study.explanation.mixture import study_mixture as program

    program(_compose("mixture", overrides, config_dir, plugin))


@study.command()
def order(
    overrides: Overrides = None, config_dir: ConfigDir = None, plugin: Plugins = None
) -> None:
    """Methods under equal steps, tokens, time and labels, each with a rate chosen by one rule."""
    from distillkit.programs.study.order.program import study_order as program

    composed = _compose("order", overrides, config_dir, plugin)
    program(composed, config_dir=config_dir, plugins=plugin or [])


@study.command(name="fidelity")
def study_fidelity(
    results: Annotated[Path, typer.Option(help="Folder of the paper's csv files.")],
    tau: Annotated[float, typer.Option(help="Temperature where it is fixed.")] = 1.0,
    selection: Annotated[
        str, typer.Option(help="best of tau on the test score, or fixed at --tau.")
    ] = "best",
    output: Annotated[Path, typer.Option(help="Parent of study/fidelity.")] = Path("outputs"),
) -> None:
    """Repeat the statistics of arXiv:2505.15442 from its published tables, and check them."""
    from distillkit.programs.study.program import study_fidelity as program

    program(results, tau=tau, selection=selection, output=output)


def _compose(
    root: str, overrides: list[str] | None, config_dir: Path | None, plugins: list[str] | None
) -> Any:
    from distillkit.compose import compose

    return compose(root, overrides or [], config_dir=config_dir, plugins=plugins or [])
