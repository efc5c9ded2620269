"""The control of a training: the best SFT on the same labels, trained once and kept."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from distillkit.compose import Composed, choices, recompose
from distillkit.core.errors import DataError
from distillkit.core.files import made_folder, writable, write_json
from distillkit.core.locking import one_at_a_time
from distillkit.core.reading import read_json_lines
from distillkit.core.rundir import WAY_OUT, RunDirectory
from distillkit.core.shapes import Verdict
from distillkit.core.spec import name_of
from distillkit.core.terminal import terminal
from distillkit.distributed.placement import Placement
from distillkit.models.loading import pick_device
from distillkit.programs.train.program import directory_of, train
from distillkit.programs.train.standing import METRICS, VERDICTS
from distillkit.programs.train.table import share_cells
from distillkit.run import TrainRun
from distillkit.statistics.finding import Finding

CONTROL = "control.json"
"""File beside a run's own that names its control and the difference to it."""

OWN = (
    *("divergence", "support", "reward", "objective", "policy", "writer"),
    *("dataset_pt", "teacher", "control"),
)
"""Groups of a run that its control has as SFT has them."""


@dataclass(frozen=True, slots=True)
class Trained:
    """One SFT."""

    rate: float
    """Its learning rate."""
    directory: RunDirectory
    """Its run directory, finished."""
    score: float
    """Of the step that was kept, on validation."""


def train_with_control(composed: Composed, *, console: Console | None = None) -> RunDirectory:
    """Train, then train the control where it is not there yet, and print both side by side.

    Raises:
        DistillkitError: something the user has to mend.
        Interrupted: a stop was asked for; the same command goes on.
    """
    console = console or terminal()
    directory = train(composed, console=console)
    run: TrainRun = composed.run
    if run.control is None:
        return directory
    placement = run.placement.open(pick_device(run.device))
    tried = [_trained(composed, rate, console, placement) for rate in run.control.rates]
    best = max(tried, key=lambda each: each.score)
    found = placement.told(lambda: _difference(directory, best.directory))
    record = {
        "control": "sft",
        "run": best.directory.path.name,
        "rate": best.rate,
        "validation": {f"{each.rate:g}": each.score for each in tried},
        "difference": found.as_dict() if found else None,
    }
    with writable(WAY_OUT):
        placement.told(lambda: write_json(directory.path / CONTROL, record))
    console.print(control_table(directory, tried, best))
    console.print(_said(found), soft_wrap=True)
    return directory


def control_of(composed: Composed, rate: float) -> Composed:
    """The control as a run of its own; one for all methods that share its labels and lengths."""
    run: TrainRun = composed.run
    config = composed.config
    kept = {each.name: config[each.name] for each in fields(TrainRun) if each.name not in OWN}
    values = {
        **kept,
        "name": None,
        "beta": None,
        "lmbda": None,
        "loop": {**kept["loop"], "group": 1, "collect": 1, "inner_epochs": 1},
        "optimizer": {**kept["optimizer"], "lr": rate},
        "checkpoint": {**kept["checkpoint"], "export": "best"},
    }
    groups = [
        f"{group}={name_of(getattr(run, group))}"
        for group in ("student", "dataset", "tracker", "placement")
    ]
    # A dataset may be made of others.
    inside = [
        item for item in choices(composed.named) or () if item.startswith("+dataset@dataset.")
    ]
    fixed = ["objective=sft", "policy=off_policy", "teacher=null"]
    return recompose([*fixed, *groups, *inside], values)


def _trained(composed: Composed, rate: float, console: Console, placement: Placement) -> Trained:
    alone = control_of(composed, rate)
    directory = directory_of(alone)
    kept = Path(alone.run.output) / "kept"
    place = placement.told(lambda: made_folder(kept, choose="output=..."))
    lock = place / f"{directory.path.name}.lock"
    with placement.led(lambda: one_at_a_time(lock, what="the same control", say=console.print)):
        if placement.told(lambda: directory.summary) is None:
            console.print(f"control  SFT on the same labels, optimizer.lr={rate:g}", soft_wrap=True)
            train(alone, console=console)
    rows = read_json_lines(directory.path / METRICS, dict[str, float], way_out=WAY_OUT)
    scores = [score for row in rows if (score := _score(row)) is not None]
    return Trained(rate, directory, max(scores, default=-math.inf))


def _score(row: Mapping[str, float]) -> float | None:
    """Of a validation, as the best weights are chosen by; None in the row of an update."""
    if "validation/accuracy" in row:
        return row["validation/accuracy"]
    return -row["validation/nll"] if "validation/nll" in row else None


def _difference(left: RunDirectory, right: RunDirectory) -> Finding | None:
    """Of both shares of right answers, over the same examples; None where nothing is judged."""
    mine, theirs = (_verdicts(each) for each in (left, right))
    if not (mine and theirs):
        return None
    # Slow to load, and most trainings have no control.
    from distillkit.statistics.paired import mcnemar

    if mine.keys() != theirs.keys():
        raise DataError(
            f"{left.path} and {right.path} were not measured on the same examples. {WAY_OUT}"
        )
    return mcnemar([mine[key] for key in mine], [theirs[key] for key in mine])


def _verdicts(directory: RunDirectory) -> dict[str, bool]:
    """By example; empty where nothing was judged, or an earlier version kept none."""
    if VERDICTS not in (directory.summary or {}).get("files", {}):
        return {}
    directory.check_left(VERDICTS)
    rows = read_json_lines(directory.path / VERDICTS, Verdict, way_out=WAY_OUT)
    return {row["id"]: row["student"] for row in rows}


def control_table(directory: RunDirectory, tried: Sequence[Trained], best: Trained) -> Table:
    """The run, and SFT with every rate; the one that validation chose is marked."""
    table = Table(title="beside the best SFT on the same labels (* chosen by validation)")
    for column in ("", "validation", "accuracy", "95 % interval", "n"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row(directory.path.name, "", *_cells(directory.summary))
    for each in tried:
        mark = " *" if each is best else ""
        name = f"SFT, lr {each.rate:g}{mark}"
        table.add_row(name, f"{each.score:.3g}", *_cells(each.directory.summary))
    return table


def _cells(summary: Mapping[str, Any] | None) -> tuple[str, str, str]:
    after = (summary or {}).get("student_after") or {}
    return (*share_cells(after), str(after.get("n", "-")))


def _said(found: Finding | None) -> str:
    if found is None or found.low is None or found.high is None:
        return "difference  not told: which test examples are right is not known of both"
    p = "" if found.p is None else f", p {found.p:.2g} (McNemar)"
    return (
        f"difference  {100 * found.estimate:+.1f} points ({100 * found.low:+.1f} to "
        f"{100 * found.high:+.1f}, 95 %, paired over {found.n:,} examples{p})"
    )
