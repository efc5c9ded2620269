"""``distillkit study``: what papers found out about distillation, found out again."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from distillkit.core.errors import ConfigError

study = typer.Typer(help="Whole studies, and their statistics.", no_args_is_help=True)
explanation = typer.Typer(
    help="Why distillation works: precision bought with recall (arXiv:2505.13111).",
    no_args_is_help=True,
)
fidelity = typer.Typer(help="Whether a student that gains also grows like its teacher.")
study.add_typer(explanation, name="explanation")
study.add_typer(fidelity, name="fidelity")

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


STUDIES = ("mixture", "language", "fidelity", "order", "scaling")
"""Roots under conf/."""

TRAIN = re.compile(r"([+~]*)train\.(.+)", re.DOTALL)
"""What is said of all trainings of a study."""


@explanation.command()
def mixture(
    overrides: Overrides = None, config_dir: ConfigDir = None, plugin: Plugins = None
) -> None:
    """Mixtures of Gaussians: a student of a teacher whose weights are sharpened by beta."""
    from distillkit.programs.study.explanation.mixture import study_mixture as program

    program(compose_study("mixture", overrides, config_dir, plugin))


@explanation.command()
def language(
    overrides: Overrides = None, config_dir: ConfigDir = None, plugin: Plugins = None
) -> None:
    """Language models: students of text drawn at several temperatures, and of divergences."""
    from distillkit.programs.study.explanation.language import study_language as program

    composed = compose_study("language", overrides, config_dir, plugin)
    program(composed, config_dir=config_dir, plugins=plugin or [])


@study.command()
def order(
    overrides: Overrides = None, config_dir: ConfigDir = None, plugin: Plugins = None
) -> None:
    """Methods under equal steps, tokens, time and labels, each with a rate chosen by one rule."""
    from distillkit.programs.study.order.program import study_order as program

    composed = compose_study("order", overrides, config_dir, plugin)
    program(composed, config_dir=config_dir, plugins=plugin or [])


@study.command()
def scaling(
    overrides: Overrides = None, config_dir: ConfigDir = None, plugin: Plugins = None
) -> None:
    """Power laws in steps, labels and the student's size, and what they foretell."""
    from distillkit.programs.study.scaling.program import study_scaling as program

    composed = compose_study("scaling", overrides, config_dir, plugin)
    program(composed, config_dir=config_dir, plugins=plugin or [])


@fidelity.callback(invoke_without_command=True)
def study_fidelity(
    context: typer.Context,
    results: Annotated[
        Path | None, typer.Option(help="Folder of the paper's csv files.", show_default=False)
    ] = None,
    tau: Annotated[float, typer.Option(help="Temperature where it is fixed.")] = 1.0,
    selection: Annotated[
        str, typer.Option(help="best of tau on the test score, or fixed at --tau.")
    ] = "best",
    output: Annotated[Path, typer.Option(help="Parent of study/fidelity.")] = Path("outputs"),
) -> None:
    """Repeat the statistics of arXiv:2505.15442 from its published tables, and check them."""
    if context.invoked_subcommand is not None:
        if results is not None:
            raise ConfigError(
                f"--results {results} is of the published tables, and run makes its own. Give one "
                "of the two."
            )
        return
    if results is None:
        raise ConfigError(
            "study fidelity takes --results, the folder of the paper's csv files. For a study of "
            "your own models use distillkit study fidelity run."
        )
    from distillkit.programs.study.program import study_fidelity as program

    program(results, tau=tau, selection=selection, output=output)


@fidelity.command()
def run(overrides: Overrides = None, config_dir: ConfigDir = None, plugin: Plugins = None) -> None:
    """Gain over SFT against likeness to the teacher, on your own models; the tests and pictures."""
    from distillkit.programs.study.fidelity.run import study_fidelity_run as program

    composed = compose_study("fidelity", overrides, config_dir, plugin)
    program(composed, config_dir=config_dir, plugins=plugin or [])


def compose_study(
    root: str, overrides: list[str] | None, config_dir: Path | None, plugins: list[str] | None
) -> Any:
    """Compose a study; what is typed behind ``train.`` is said of all its trainings."""
    from distillkit.compose import compose, quoted

    asked = [TRAIN.match(item) for item in overrides or []]
    typed = ",".join(quoted(f"{each[1]}{each[2]}") for each in asked if each)
    own = [item for item, each in zip(overrides or [], asked, strict=True) if not each]
    told = [f"typed=[{typed}]"] if typed else []
    return compose(root, [*own, *told], config_dir=config_dir, plugins=plugins or [])
