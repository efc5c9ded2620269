"""A cell of a sweep or study as a process of its own, which saves when it is asked to stop."""

import ctypes
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distillkit.compose import Cell, Composed, compose
from distillkit.core.errors import DistillkitError, Interrupted
from distillkit.core.stopping import STOPS, stopping
from distillkit.core.streams import lasting
from distillkit.programs.tasks import Task
from distillkit.programs.train.differences import check_same
from distillkit.programs.train.program import directory_of

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Bench:
    """What all cells of a sweep or study have in common; launchers pickle it."""

    group: str
    """Gathers them in W&B."""
    config_dir: Path | None = None
    """A folder of the user's own yaml files."""
    plugins: Sequence[str] = ()
    """Files or modules of the user's own components."""
    threads: int | None = None
    """Of each process; as many as it takes if None."""

    def train(self, cell: Cell, task: Task) -> dict[str, Any]:
        """What became of a cell: its run, summary, status, and the error of one that failed.

        Each of its tasks trains as one process of several, and all of them find it kept, or none:
        nothing is written before the last one has joined.
        """
        result: dict[str, Any] = {"overrides": cell.overrides}
        try:
            composed = compose(
                "train", cell.overrides, config_dir=self.config_dir, plugins=self.plugins
            )
            directory = directory_of(composed)
            result |= {"run": str(directory.path), "fingerprint": composed.fingerprint}
            done = directory.summary
            if done is not None and done["fingerprint"] == composed.fingerprint:
                result["status"] = "kept"
            else:
                # They are made anew; none is continued under its name.
                check_same(directory, composed)
                result |= self.train_apart(self.grouped(composed), task)
            result["summary"] = directory.summary if result["status"] != "failed" else None
        except DistillkitError as error:
            result |= {"status": "failed", "error": str(error)}
        return result

    def train_apart(self, overrides: Sequence[str], task: Task) -> dict[str, str]:
        """Train in a process of its own, or as one of several; status, and why it failed."""
        places = ["--config-dir", str(self.config_dir)] if self.config_dir else []
        brought = [word for plugin in self.plugins for word in ("--plugin", plugin)]
        result = train_apart([*places, *brought, "--", *overrides], task.environment)
        if not task.chief and "error" in result:
            # The cell is the chief's to tell, which may know no more than that a process is gone.
            with lasting():
                print(f"process {task.rank}: {result['error']}")
        return result

    def grouped(self, composed: Composed) -> list[str]:
        """Overrides of a cell, in the group of all unless it names one or has no tracker."""
        ungrouped = getattr(composed.run.tracker, "group", "none") is None
        return [*composed.overrides, *([f"tracker.group={self.group}"] if ungrouped else [])]


def train_apart(arguments: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Run ``distillkit train`` with these arguments, there; its status, and why it failed.

    A signal that asks this process to stop is passed on, and raised here once the cell is saved.
    """
    # Not from the folder where one stands: what lies there may be a stranger's.
    command = [sys.executable, "-P", "-m", "distillkit", "train", *arguments]
    begun: list[subprocess.Popen[str]] = []

    def tell() -> None:
        # Ctrl-C may have reached the cell too; SIGTERM is no second one, which would not save.
        for process in begun:
            process.terminate()

    with stopping(tell) as stop:
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env=environment,
            preexec_fn=stop_with_parent,
        )
        begun.append(process)
        if stop.signal is not None:
            process.terminate()
        _, said = process.communicate()
    given_up = ""
    if stop.signal is not None:
        try:
            # What a launcher does on this signal, such as to requeue, comes now.
            signal.raise_signal(stop.signal)
        except Exception as error:
            given_up = f" ({error})"
    code = process.returncode
    if code == 0:
        return {"status": "done"}
    if code - 128 in STOPS:
        return {"status": "failed", "error": f"interrupted and saved{given_up}"}
    if code < 0:
        return {"status": "failed", "error": f"killed by signal {-code}"}
    lines = said.strip().splitlines() or [f"exit code {code}"]
    return {"status": "failed", "error": lines[-1].removeprefix("distillkit: ")}


@contextmanager
def saving_cells() -> Iterator[None]:
    """Say of an interruption inside that cells were running, which are saved."""
    try:
        yield
    except Interrupted as stop:
        raise Interrupted(
            "interrupted; the cell that ran is saved, and the same command goes on from there",
            signal=stop.signal,
        ) from None


def stop_with_parent() -> None:
    """On Linux a cell is told to save and stop when its launcher dies; elsewhere it runs on."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
