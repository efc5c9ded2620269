"""``distillkit sweep``: a grid through Hydra's multirun, each cell a process of its own.

All cells are composed before the first one runs. A cell that crashes, is killed or runs out of
memory takes no other with it. What Hydra lacks is here: a finished cell is not run again, an
interrupted one resumes, a failed one is reported at the end.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from distillkit.compose import Grid, check_hydra, compose, current_cell, grid_of, multirun
from distillkit.core.cells import has_cell, read_cells, write_cell, write_table
from distillkit.core.errors import ConfigError, DistillkitError, RunError
from distillkit.core.files import made_folder, writable
from distillkit.core.streams import lasting
from distillkit.core.terminal import WIDE, terminal
from distillkit.programs.cell import Bench, saving_cells
from distillkit.programs.tasks import this_task
from distillkit.programs.train.budget import COSTS, costs_of
from distillkit.programs.train.fields import check_fields
from distillkit.programs.train.program import directory_of
from distillkit.programs.train.table import share_cells

OPTUNA = {"hydra.sweeper.direction": "maximize", "hydra.sweeper.max_failure_rate": "1.0"}
"""What the Optuna sweeper is told unless it is typed: a cell returns what is to be large, and one
that fails is no reason to stop."""

WAY_OUT = "Move away what is there, and give the same command again."


LOST = "its process is gone and has not said why; the launcher's log is in {}"


class CellFailed(Exception):  # noqa: N818 (a result, for a sweeper that learns from results)
    """A cell has no number to return."""


def sweep(
    overrides: Sequence[str],
    *,
    config_dir: Path | None = None,
    plugins: Sequence[str] = (),
    console: Console | None = None,
) -> Path:
    """Run the grid and print a table of cells and final numbers.

    Args:
        overrides: Hydra overrides; lists such as ``seed=0,1`` span the grid, ``hydra/launcher=...``
            chooses who runs the cells.
        config_dir: a folder of the user's own yaml files.
        plugins: files or modules of the user's own components.
        console: where the table goes.

    Returns:
        The sweep's folder, with one file for each cell and ``table.json``.

    Raises:
        ConfigError: the grid or one of its cells cannot be composed; none has run.
        RunError: a cell failed; all others have run.
    """
    console = console or terminal(columns=WIDE)
    grid = grid_of(overrides)
    output = _checked(grid, config_dir, plugins)
    check_hydra(grid.hydras, config_dir)
    named = sorted(item for item in overrides if not item.startswith("hydra"))
    name = sha256(" ".join(named).encode()).hexdigest()[:8]
    folder = made_folder((Path(output) / "sweep" / name).resolve(), choose="output=...")
    with writable(WAY_OUT):
        for stale in (folder / "cells").glob("*.json"):
            stale.unlink()
    job = partial(run_cell, config_dir=config_dir and config_dir.resolve(), plugins=plugins)
    with saving_cells(), _chosen(grid, folder):
        multirun([*overrides, *_told(grid)], job, folder=folder, config_dir=config_dir)
    with writable(WAY_OUT):
        _write_lost(grid, folder)
        results = read_cells(folder)
        write_table(folder, results)
    if not results:
        raise RunError("no cell ran; see the messages of the launcher above.")
    console.print(_table(results, title=f"sweep {name}"))
    console.print(f"sweep  {folder}")
    _raise_failed(results, console)
    return folder


@contextmanager
def _chosen(grid: Grid, folder: Path) -> Iterator[None]:
    """A sweeper that chooses has nothing to choose from where every cell failed."""
    try:
        yield
    except ConfigError:
        if not grid.chooses or not any((folder / "cells").glob("*.json")):
            raise


def _write_lost(grid: Grid, folder: Path) -> None:
    """Say of cells that said nothing themselves that they are lost, where all are known."""
    lost = {} if grid.chooses else dict(enumerate(grid.cells))
    for number, overrides in lost.items():
        if not has_cell(folder, number):
            error = LOST.format(folder / ".submitit")
            write_cell(folder, number, {"overrides": overrides, "status": "failed", "error": error})


def run_cell(_: DictConfig, *, config_dir: Path | None, plugins: Sequence[str]) -> float:
    """One cell, as Hydra's launchers call it; returns what the Optuna sweeper maximises.

    Of the tasks of a cell the chief alone says what became of it.

    Raises:
        CellFailed: there is no number, and the sweeper would learn from one.
    """
    cell, task = current_cell(), this_task()
    result = Bench(f"sweep-{cell.folder.name}", config_dir, plugins).train(cell, task)
    if not task.chief:
        return float("nan")
    write_cell(cell.folder, cell.number, result)
    after = (result.get("summary") or {}).get("student_after") or {}
    score = f"  accuracy {after['accuracy']:.1%}" if "accuracy" in after else ""
    # A launcher may have put this into a process of its own.
    with lasting():
        print(f"cell {cell.number} {result['status']}  {' '.join(cell.overrides)}{score}")
    if not after.keys() & {"accuracy", "nll"} and cell.sweeper != "basic":
        raise CellFailed(result.get("error", "it measured neither accuracy nor nll"))
    return float(after.get("accuracy", -after.get("nll", float("nan"))))


def _checked(grid: Grid, config_dir: Path | None, plugins: Sequence[str]) -> str:
    """Compose every cell, and return the output that all share."""
    outputs: dict[str, str] = {}
    places: dict[Path, str] = {}
    for overrides in grid.cells:
        line = " ".join(item for item in overrides if item.split("=")[0] in grid.varied)
        try:
            composed = compose("train", overrides, config_dir=config_dir, plugins=plugins)
            check_fields(composed.run, composed.overrides)
        except DistillkitError as error:
            raise ConfigError(
                f"the cell {line} cannot be run, so none has: {error}" if line else str(error)
            ) from error
        outputs[composed.run.output] = line
        place = directory_of(composed).path
        if composed.run.name and place in places and places[place] != line:
            raise ConfigError(
                f"name={composed.run.name} would be the name of several cells. Leave it out, and "
                "each gets one of its own."
            )
        places[place] = line
    if len(outputs) > 1:
        raise ConfigError(
            f"output would differ between cells ({', '.join(outputs)}). Give one output for all."
        )
    return next(iter(outputs))


def _told(grid: Grid) -> list[str]:
    """What the Optuna sweeper is told beside what was typed."""
    if "hydra/sweeper=optuna" not in grid.hydras:
        return []
    typed = {item.lstrip("+").partition("=")[0] for item in grid.hydras}
    return [f"{key}={value}" for key, value in OPTUNA.items() if key not in typed]


def _raise_failed(results: Sequence[dict[str, Any]], console: Console) -> None:
    failed = [result for result in results if result["status"] == "failed"]
    for result in failed:
        line = f"failed  {' '.join(result['overrides'])}\n        {result['error']}"
        console.print(line, soft_wrap=True)
    if failed:
        raise RunError(
            f"{len(failed)} of {len(results)} cells failed (see above). The same command runs "
            "those again and no others."
        )


def _table(results: Sequence[dict[str, Any]], *, title: str) -> Table:
    table = Table(title=title)
    for column in ("cell", "status", "accuracy", "95 % interval", "nll / token", *COSTS, "run"):
        table.add_column(column, justify="left" if column in ("cell", "status", "run") else "right")
    shared = set.intersection(*(set(result["overrides"]) for result in results))
    for result in results:
        summary = result.get("summary") or {}
        after = summary.get("student_after") or {}
        # As texts: what users type may look like markup.
        table.add_row(
            Text(" ".join(item for item in result["overrides"] if item not in shared) or "-"),
            result["status"],
            *share_cells(after),
            f"{after['nll']:.3f}" if "nll" in after else "-",
            *costs_of(summary),
            Text(Path(result["run"]).name if "run" in result else "-"),
        )
    return table
