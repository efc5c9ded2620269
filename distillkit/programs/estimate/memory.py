"""``distillkit estimate --processes N``: the memory of each process, before any is started."""

import time
from pathlib import Path
from typing import Any

from rich.console import Console

from distillkit.compose import Composed
from distillkit.core.files import made_folder, write_json
from distillkit.core.spec import name_of
from distillkit.core.terminal import terminal
from distillkit.preflight.dry_run import dry_run
from distillkit.preflight.dry_run_table import dry_run_table
from distillkit.preflight.phases import DryRun
from distillkit.preflight.sizes import size
from distillkit.programs.train.assemble import room_needed
from distillkit.programs.train.fields import check_fields
from distillkit.programs.train.program import directory_of
from distillkit.run import TrainRun


def estimate_memory(composed: Composed, processes: int, *, console: Console | None = None) -> Path:
    """Lay a run out over so many processes; print a table, leave JSON. Nothing is loaded.

    Raises:
        ConfigError: the placement is none for so many processes.
        ModelError: a model's configuration cannot be read.
    """
    console, started = console or terminal(), time.monotonic()
    run: TrainRun = composed.run
    check_fields(run, composed.overrides)
    found = dry_run(run, processes, room=room_needed(run))
    folder = made_folder(Path(run.output) / "estimate", choose="output=...")
    layout = found.placement.layout.replace(" x ", "x").replace(" ", "-")
    file = folder / f"{directory_of(composed).path.name}-memory-{layout}.json"
    write_json(file, _as_json(composed, found, processes, seconds=time.monotonic() - started))
    rows, tokens = found.micro_batch
    several = f"each of {processes} processes" if processes > 1 else "one process"
    title = f"placement={name_of(run.placement)}: the memory of {several}"
    console.print(dry_run_table(found, title=title))
    for line in (
        "Phases exclude each other: the peak is the largest, "
        f"{size(found.total(found.largest))} ({found.largest}).",
        f"A micro-batch has {rows} row{'s' * (rows > 1)} of {tokens:,} tokens. Arithmetic on real "
        "shards of models without weights, not a measurement: leave some room.",
        *(f"note: {note}" for note in found.notes),
        f"numbers  {file}",
    ):
        console.print(line, soft_wrap=line.startswith("numbers"))
    return file


def _as_json(
    composed: Composed, found: DryRun, processes: int, *, seconds: float
) -> dict[str, Any]:
    rows, tokens = found.micro_batch
    return {
        "fingerprint": composed.fingerprint,
        "overrides": composed.overrides,
        "placement": name_of(composed.run.placement),
        "processes": processes,
        "layout": found.placement.layout,
        "micro_batch": {"rows": rows, "tokens": tokens},
        "unit": "bytes in one process",
        "rows": [
            {
                "name": row.name,
                "student": row.student,
                "teacher": row.teacher,
                **{phase: row.bytes_in(phase) for phase in found.phases},
            }
            for row in found.rows
        ],
        "together": {phase: found.total(phase) for phase in found.phases},
        "state": found.state,
        "peak": found.total(found.largest),
        "largest": found.largest,
        "notes": found.notes,
        "seconds": round(seconds, 2),
    }
