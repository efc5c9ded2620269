"""``distillkit sweep``: a grid through Hydra's multirun, each cell a process of its own.

A cell that crashes, is killed or runs out of memory takes no other with it. What Hydra lacks is
here: a finished cell is not run again, an interrupted one resumes, a failed one is reported at the
end.
"""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from distillkit.compose import current_cell, from_config, multirun
from distillkit.core.cells import read_cells, write_cell, write_table
from distillkit.core.errors import DistillkitError, RunError
from distillkit.core.files import writable
from distillkit.core.streams import lasting
from distillkit.core.terminal import WIDE, terminal
from distillkit.programs.cell import saving_cells, train_apart
from distillkit.programs.differences import check_same
from distillkit.programs.train import directory_of

WAY_OUT = "Move away what is there, and give the same command again."


def sweep(
    overrides: Sequence[str], *, config_dir: Path | None = None, console: Console | None = None
) -> Path:
    """Run the grid and print a table of cells and final numbers.

    Args:
        overrides: Hydra overrides; lists such as ``seed=0,1`` span the grid, ``hydra/launcher=...``
            chooses who runs the cells.
        config_dir: a folder of the user's own yaml files.
        console: where the table goes.

    Returns:
        The sweep's folder, with one file for each cell and ``table.json``.

    Raises:
        RunError: a cell failed; all others have run.
    """
    console = console or terminal(columns=WIDE)
    named = sorted(item for item in overrides if not item.startswith("hydra"))
    output = next((i.split("=", 1)[1] for i in named if i.startswith("output=")), "outputs")
    name = sha256(" ".join(named).encode()).hexdigest()[:8]
    folder = (Path(output) / "sweep" / name).resolve()
    search = [f'hydra.searchpath=["file://{config_dir.resolve()}"]'] if config_dir else []
    cells = folder / "cells"
    with writable(WAY_OUT):
        for stale in cells.glob("*.json"):
            stale.unlink()
    with saving_cells():
        multirun("train", [*overrides, *search, f"hydra.sweep.dir={folder}"], run_cell)
    results = read_cells(folder)
    with writable(WAY_OUT):
        write_table(folder, results)
    if not results:
        raise RunError("no cell ran; see the messages of the launcher above.")
    console.print(_table(results, title=f"sweep {name}"))
    console.print(f"sweep  {folder}", highlight=False)
    failed = [result for result in results if result["status"] == "failed"]
    if failed:
        for result in failed:
            cell = " ".join(result["overrides"])
            console.print(f"failed  {cell}\n        {result['error']}", soft_wrap=True)
        raise RunError(
            f"{len(failed)} of {len(results)} cells failed (see above). The same command runs "
            "those again and no others."
        )
    return folder


def run_cell(config: DictConfig) -> float:
    """One cell, as Hydra's launchers call it; returns what the Optuna sweeper maximises."""
    cell = current_cell()
    result: dict[str, Any] = {"overrides": cell.overrides}
    try:
        composed = from_config(config, cell.overrides)
        directory = directory_of(composed)
        result |= {"run": str(directory.path), "fingerprint": composed.fingerprint}
        done = directory.summary
        if done is not None and done["fingerprint"] == composed.fingerprint:
            result["status"] = "kept"
        else:
            # A grid makes runs anew; it continues none under their names.
            check_same(directory, composed)
            group = f"tracker.group=sweep-{cell.folder.name}"
            in_group = [group] if getattr(composed.run.tracker, "group", "none") is None else []
            result |= train_apart([*cell.overrides, *cell.search, *in_group])
        result["summary"] = directory.summary if result["status"] != "failed" else None
    except DistillkitError as error:
        result |= {"status": "failed", "error": str(error)}
    write_cell(cell.folder, cell.number, result)
    after = (result.get("summary") or {}).get("student_after") or {}
    score = f"  accuracy {after['accuracy']:.1%}" if "accuracy" in after else ""
    # A launcher may have put this into a process of its own.
    with lasting():
        print(f"cell {cell.number} {result['status']}  {' '.join(cell.overrides)}{score}")
    return float(after.get("accuracy", -after.get("nll", float("nan"))))


def _table(results: Sequence[dict[str, Any]], *, title: str) -> Table:
    table = Table(title=title)
    for column in ("cell", "status", "accuracy", "95 % interval", "nll / token", "run"):
        table.add_column(column, justify="left" if column in ("cell", "status", "run") else "right")
    shared = set.intersection(*(set(result["overrides"]) for result in results))
    for result in results:
        after = (result.get("summary") or {}).get("student_after") or {}
        judged = "accuracy" in after
        table.add_row(
            " ".join(item for item in result["overrides"] if item not in shared) or "-",
            result["status"],
            f"{after['accuracy']:.1%}" if judged else "-",
            f"{after['low']:.1%} to {after['high']:.1%}" if judged else "-",
            f"{after['nll']:.3f}" if "nll" in after else "-",
            Path(result["run"]).name if "run" in result else "-",
        )
    return table
