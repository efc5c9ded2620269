"""Cells of a sweep: a sealed object each, in ``cells/`` while it runs and in table.json after."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distillkit.core.files import write_json
from distillkit.core.reading import damaged, read_json
from distillkit.core.rundir import RunDirectory
from distillkit.core.sealed import SEAL, read_sealed, sealed, unsealed, write_sealed
from distillkit.core.shapes import Cell

TABLE = "table.json"

WAY_OUT = (
    "Give the same distillkit sweep command again: it runs no finished cell, and writes it anew."
)


def write_cell(sweep: Path, number: int, cell: Mapping[str, Any]) -> None:
    """Keep what became of a cell."""
    folder = sweep / "cells"
    folder.mkdir(parents=True, exist_ok=True)
    write_sealed(folder / f"{number:05d}.json", cell)


def has_cell(sweep: Path, number: int) -> bool:
    """Whether it is known what became of a cell."""
    return (sweep / "cells" / f"{number:05d}.json").is_file()


def read_cells(sweep: Path) -> list[dict[str, Any]]:
    """Cells that were kept, in the order of the grid.

    Raises:
        RunError: one is damaged.
    """
    files = sorted((sweep / "cells").glob("*.json"))
    return [read_sealed(file, Cell, old=False, way_out=WAY_OUT) for file in files]


def write_table(sweep: Path, cells: Sequence[Mapping[str, Any]]) -> None:
    """Write table.json, all cells in one list."""
    write_json(sweep / TABLE, [sealed(cell) for cell in cells])


def read_table(sweep: Path) -> list[dict[str, Any]]:
    """The cells of a table.json, sealed or of an earlier version.

    Raises:
        RunError: it is damaged.
    """
    file = sweep / TABLE
    cells = read_json(file, list[dict[str, Any]], way_out=WAY_OUT)
    old = not any(SEAL in cell for cell in cells)
    try:
        return [unsealed(cell, Cell, old=old) for cell in cells]
    except (ValueError, RecursionError) as error:
        raise damaged(file, str(error), way_out=WAY_OUT) from error


def cells_of(sweep: Path) -> list[tuple[dict[str, Any], Path | None]]:
    """Cells of a sweep's or study's folder, each with its run directory, None where there is none.

    It may be read on another machine, or from another folder, than it was run in.

    Raises:
        RunError: the sweep's table is damaged, or a run directory is another cell's.
    """
    found = []
    for cell in read_table(sweep):
        recorded = Path(cell["run"]) if "run" in cell else None
        places = []
        if recorded is not None:
            # A study has its trainings inside, a sweep beside it.
            parents = (sweep.resolve(), sweep.resolve().parents[1])
            places = [recorded, *(parent / "train" / recorded.name for parent in parents)]
        run = next((place for place in places if (place / "run.yaml").is_file()), None)
        if run is not None:
            _check_whose(run, cell, sweep)
        found.append((cell, run))
    return found


def _check_whose(run: Path, cell: Mapping[str, Any], sweep: Path) -> None:
    record = RunDirectory(run).record
    told = cell.get("fingerprint")
    if record is not None and told is not None and record["fingerprint"] != told:
        why = f"it holds another configuration than its cell in {sweep / TABLE}"
        raise damaged(run, why, way_out=WAY_OUT)
