"""Folders that verbs read, and what each verb makes of them while nothing is damaged."""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .commands import OFFLINE
from .forks import Call, Child, Ended, run

TRAIN = ("train", "tracker=none", "debug=smoke", "evaluation.test=4", "name=run")
LONG = (*TRAIN, "steps=8", "checkpoint.every=2", "evaluation.every=4")
EVAL = ("eval", "run=outputs/train/run", "metric=[accuracy,length]", "limit=4")
REPORT = ("report", "outputs/train/run", "--output", "page")
SWEEP = ("sweep", "tracker=none", "debug=smoke", "evaluation.test=4", "seed=0,1")
UNDO = (
    *(
        "undo-iterate",
        "tracker=none",
        "debug=smoke",
        "elsewhere.test=4",
        "rollout.max_new_tokens=16",
    ),
    *("evaluation.every=0", "iterations=1", "name=run"),
    *(f"controls.{each}=false" for each in ("one_shot", "untargeted", "length_matched")),
)
SAME = ("metrics.jsonl", "samples.jsonl", "student/model.safetensors")


@dataclass(frozen=True, slots=True)
class Scene:
    """A folder, and a command that reads it.

    Attributes:
        name: what the folder holds.
        folder: prepared, never changed.
        command: typed in a copy of it.
        outcome: what must be equal where the command ends well.
    """

    name: str
    folder: Path
    command: Sequence[str]
    outcome: Callable[[Ended], Any]

    def play(self, folder: Path) -> Ended:
        """The command in a copy of the folder."""
        return run(Call(self.command, folder=folder, environment=OFFLINE, seconds=120))


def scenes(place: Path, *, seed: int) -> list[Scene]:
    """Runs finished, evaluated and interrupted, a sweep and UNDO, made in ``place``."""
    cut, sweep, undo, half = (place / name for name in ("cut", "sweep", "undo", "half"))
    common = (f"seed={seed}",)
    quick = finished(place / "finished", seed=seed)
    _make(quick[0].folder, [EVAL])
    cut.mkdir()
    cut_short((*LONG, *common), cut, after=5)
    _make(sweep, [SWEEP])
    _make(undo, [(*UNDO, *common)])
    shutil.copytree(undo, half)
    (half / "outputs/undo/run/summary.json").unlink()
    (grid,) = (sweep / "outputs/sweep").iterdir()
    compare = ("report", str(grid.relative_to(sweep)), "--output", "page")
    return [
        *quick,
        Scene("finished, eval", quick[0].folder, EVAL, _results),
        Scene("interrupted, train", cut, (*LONG, *common), _trained),
        Scene("sweep again", sweep, SWEEP, _printed),
        Scene("sweep, report", sweep, compare, _page),
        Scene("undo again", undo, (*UNDO, *common), _printed),
        Scene("undo, its last step again", half, (*UNDO, *common), _undone),
    ]


def finished(folder: Path, *, seed: int) -> list[Scene]:
    """A finished run, with the two commands that load no model for it."""
    again = (*TRAIN, f"seed={seed}")
    _make(folder, [again])
    return [
        Scene("finished, train again", folder, again, _printed),
        Scene("finished, report", folder, REPORT, _page),
    ]


def cut_short(command: Sequence[str], folder: Path, *, after: int) -> None:
    """Start a training and end it as a power cut would, once it has logged so many steps."""
    child = Child(Call(command, folder=folder, environment=OFFLINE))
    journal = folder / "outputs/train/run/metrics.jsonl"
    while not (journal.is_file() and journal.read_bytes().count(b"\n") >= after):
        time.sleep(0.002)
        assert child.ended() is None
    child.kill()
    child.wait()


def _make(folder: Path, commands: Sequence[Sequence[str]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for command in commands:
        ended = run(Call(command, folder=folder, environment=OFFLINE, seconds=240))
        assert ended.code == 0, ended


def _printed(ended: Ended) -> str:
    return ended.out


def _results(ended: Ended) -> Any:
    return json.loads((ended.folder / "outputs/train/run/evaluation/test/results.json").read_text())


def _page(ended: Ended) -> dict[str, bytes]:
    page = ended.folder / "page"
    return {file.name: file.read_bytes() for file in sorted(page.glob("*.md"))}


def _trained(ended: Ended) -> list[bytes]:
    return [(ended.folder / "outputs/train/run" / name).read_bytes() for name in SAME]


def _undone(ended: Ended) -> Any:
    summary = json.loads((ended.folder / "outputs/undo/run/summary.json").read_text())
    summary["cost"].pop("training_seconds")
    return summary
