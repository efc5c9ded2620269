"""The command line. Verbs import their program when they run, so that --help stays fast."""

from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from distillkit import __version__
from distillkit.cli_ends import code_of
from distillkit.cli_studies import STUDIES, ConfigDir, Plugins, compose_study, study
from distillkit.core import world
from distillkit.core.errors import (
    ConfigError,
    RunError,
)
from distillkit.core.streams import lasting, lost

app = typer.Typer(
    help="Experiments in distilling language models. Settings are Hydra overrides: a=b, +a=b, ~a.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Overrides = Annotated[
    list[str] | None, typer.Argument(help="Hydra overrides, such as divergence=jsd beta=0.1")
]
Processes = Annotated[
    int | None, typer.Option(min=1, help="Processes that a run would be shared by.")
]
VERBS = ("train", "eval", "undo", "osd", "serve", "cache", *STUDIES)
"""Roots under conf/."""

SPLITS = ("train", "validation", "test")


@app.callback(invoke_without_command=True)
def top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Experiments in distilling language models."""
    if version:
        typer.echo(f"distillkit {__version__}")
        raise typer.Exit
    if context.invoked_subcommand != "train":
        world.check_one(f"distillkit {context.invoked_subcommand}")


@app.command()
def train(
    overrides: Overrides = None,
    multirun: Annotated[bool, typer.Option("--multirun", "-m", help="Run the whole grid.")] = False,
    config_dir: ConfigDir = None,
    plugin: Plugins = None,
) -> None:
    """Distil a student; the same command again resumes it, or shows its result."""
    if multirun:
        world.check_one("--multirun")
        sweep(overrides, config_dir, plugin)
    else:
        from distillkit.programs.train.control import train_with_control as program

        program(_compose("train", overrides, config_dir, plugin))


@app.command()
def cache(
    overrides: Overrides = None,
    show: Annotated[
        Path | None, typer.Option(help="Check a cache, and say what may be trained from it.")
    ] = None,
    config_dir: ConfigDir = None,
    plugin: Plugins = None,
) -> None:
    """Keep what a teacher thinks of a dataset's text, or of its own, for teacher=cached."""
    if show is not None:
        if overrides:
            raise ConfigError(f"{overrides[0]} has no meaning beside --show. Remove it.")
        from distillkit.programs.cache.table import show_cache

        show_cache(show)
        return
    from distillkit.programs.cache.program import make_cache as program

    program(_compose("cache", overrides, config_dir, plugin))


@app.command()
def sweep(
    overrides: Overrides = None, config_dir: ConfigDir = None, plugin: Plugins = None
) -> None:
    """Run a grid (a=1,2 b=x,y) through Hydra's multirun; finished cells are not run again."""
    from distillkit.programs.sweep import sweep as program

    program(overrides or [], config_dir=config_dir, plugins=plugin or [])


@app.command(name="eval")
def evaluate(
    overrides: Overrides = None, config_dir: ConfigDir = None, plugin: Plugins = None
) -> None:
    """Measure a finished run, or a sweep's runs: eval run=outputs/train/<name> metric=all."""
    from distillkit.programs.evaluate.program import evaluate as program

    program(_compose("eval", overrides, config_dir, plugin))


@app.command(name="undo-iterate")
def undo_iterate(
    overrides: Overrides = None, config_dir: ConfigDir = None, plugin: Plugins = None
) -> None:
    """Have a teacher rewrite its lessons for the student's errors, distil again, and compare."""
    from distillkit.programs.undo.program import undo_iterate as program

    program(_compose("undo", overrides, config_dir, plugin))


@app.command()
def osd(overrides: Overrides = None, config_dir: ConfigDir = None, plugin: Plugins = None) -> None:
    """Serve a stream of requests by speculative decoding whose draft learns meanwhile."""
    from distillkit.programs.osd.program import osd as program

    program(_compose("osd", overrides, config_dir, plugin))


@app.command()
def serve(
    overrides: Overrides = None, config_dir: ConfigDir = None, plugin: Plugins = None
) -> None:
    """Answer over HTTP as OpenAI's API does, by a target whose draft learns between requests."""
    from distillkit.programs.serve.program import serve as program

    program(_compose("serve", overrides, config_dir, plugin))


@app.command()
def estimate(
    overrides: Overrides = None,
    k: Annotated[
        str, typer.Option(help="Entries that top-k supports keep, commas between.")
    ] = "1,4,16,64,256",
    draws: Annotated[
        str, typer.Option(help="Tokens drawn at a position, commas between.")
    ] = "1,4,16",
    repeats: Annotated[int, typer.Option(help="Draws of the whole batch, for variances.")] = 16,
    processes: Processes = None,
    config_dir: ConfigDir = None,
    plugin: Plugins = None,
) -> None:
    """Compare the divergence of a train command with cheaper estimators, on its first batch.

    With --processes instead: the memory of each of them, from the models' configurations alone.
    """
    if processes is not None:
        from distillkit.programs.estimate.memory import estimate_memory

        estimate_memory(_compose("train", overrides, config_dir, plugin), processes)
        return
    from distillkit.programs.estimate import program

    plan = program.plan_of(k=k, draws=draws, repeats=repeats)
    program.estimate(_compose("train", overrides, config_dir, plugin), plan)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run directories and sweep folders.")],
    baseline: Annotated[
        str | None, typer.Option(help="Run to compare with; else the first.")
    ] = None,
    split: Annotated[str, typer.Option(help="Whose evaluation is shown.")] = "test",
    output: Annotated[Path | None, typer.Option(help="Folder to write.")] = None,
) -> None:
    """Compare finished runs: one page that opens anywhere, a table, and pictures."""
    if split not in SPLITS:
        raise ConfigError(f"--split {split} is unknown. Choose from {', '.join(SPLITS)}.")
    from distillkit.programs.report import report as program

    program(runs, baseline=baseline, split=split, output=output)


@app.command()
def doctor(
    overrides: Overrides = None,
    processes: Processes = None,
    config_dir: ConfigDir = None,
    plugin: Plugins = None,
) -> None:
    """Check a training before its hours are spent; takes train's overrides, writes nothing.

    Each finding says what, why it matters, and the override that mends it. Exit code 0 if nothing
    is fatal, 1 if something is (the report is complete), 2 if the overrides cannot be composed.
    """
    from distillkit.programs.doctor import doctor as program

    if not program(_compose("train", overrides, config_dir, plugin), processes=processes):
        raise typer.Exit(1)


@app.command()
def show(
    overrides: Overrides = None,
    verb: Annotated[str, typer.Option(help=f"{', '.join(VERBS)}.")] = "train",
    config_dir: ConfigDir = None,
    plugin: Plugins = None,
) -> None:
    """Print the composed run as yaml, without running it."""
    if verb not in VERBS:
        raise ConfigError(f"--verb {verb} is unknown. Choose from {', '.join(VERBS)}.")
    typer.echo(_compose(verb, overrides, config_dir, plugin).shown(), nl=False)
    if error := lost():
        raise RunError(f"the yaml could not be printed ({error.strerror}). Send it elsewhere.")


app.add_typer(study, name="study")


def _compose(
    verb: str, overrides: list[str] | None, config_dir: Path | None, plugins: list[str] | None
) -> Any:
    from distillkit.compose import asks_to_resume, compose

    if verb in STUDIES:
        return compose_study(verb, overrides, config_dir, plugins)
    if verb == "train" and asks_to_resume(overrides or []):
        from distillkit.programs.train.resuming import resumed

        return resumed(overrides or [], plugins=plugins or [])
    return compose(verb, overrides or [], config_dir=config_dir, plugins=plugins or [])


def main() -> NoReturn:
    """Entry point: the user's errors become one sentence and exit code 2."""
    with lasting():
        raise SystemExit(code_of(lambda: app(prog_name="distillkit", standalone_mode=False)))


if __name__ == "__main__":
    main()
