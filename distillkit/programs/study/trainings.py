"""The trainings of a study: checked together, run by a launcher of Hydra's, evaluated, kept."""

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from distillkit.compose import Composed, check_hydra, compose, current_cell, launch, quoted
from distillkit.core.cells import read_cells, write_cell, write_table
from distillkit.core.errors import ConfigError, DistillkitError, RunError
from distillkit.core.locking import one_at_a_time
from distillkit.core.rundir import RunDirectory
from distillkit.core.streams import lasting
from distillkit.evaluation.folder import EvaluationFolder
from distillkit.programs.cell import Bench, saving_cells
from distillkit.programs.train.differences import check_same
from distillkit.programs.train.fields import check_fields
from distillkit.programs.train.program import directory_of
from distillkit.run_studies import TrainingStudy


@dataclass(frozen=True, slots=True)
class Training:
    """One training of a study, and how it is evaluated."""

    name: str
    """Of its run directory."""
    overrides: str
    """As typed, without name and place."""
    evaluation: str = ""
    """Overrides of ``distillkit eval``; not evaluated if empty."""


class Trainings:
    """Runs a study's trainings.

    Args:
        run: the study.
        folder: its own.
        console: where it is said what is going on.
        config_dir: a folder of the user's own yaml files.
        plugins: files or modules of the user's own components.
    """

    def __init__(
        self,
        run: TrainingStudy,
        folder: Path,
        *,
        console: Console,
        config_dir: Path | None = None,
        plugins: Sequence[str] = (),
    ) -> None:
        self._folder, self._console = folder.resolve(), console
        self._composed: dict[Training, Composed] = {}
        self._shared = split(run.train, "train")
        self._hydras = split(run.launcher, "launcher")
        threads = None
        if run.jobs > 1:
            self._hydras = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={run.jobs}"]
            threads = max(1, (os.cpu_count() or 1) // run.jobs)
        place = config_dir and config_dir.resolve()
        self._bench = Bench(f"study-{folder.name}", place, plugins, threads)

    def composed(self, training: Training) -> Composed:
        """The training as a run.

        Raises:
            ConfigError: it cannot be composed, or must not be run.
        """
        if training in self._composed:
            return self._composed[training]
        bench, typed = self._bench, self._typed(training)
        try:
            made = compose("train", typed, config_dir=bench.config_dir, plugins=bench.plugins)
            check_fields(made.run, made.overrides)
        except DistillkitError as error:
            raise ConfigError(f"the training {training.name} cannot be run: {error}") from error
        self._composed[training] = made
        return made

    def check(self, trainings: Sequence[Training]) -> None:
        """Refuse what cannot be run, before anything is.

        Raises:
            ConfigError: as of ``composed``, or two trainings have one name.
            RunError: a run directory holds something else.
        """
        check_hydra(self._hydras, self._bench.config_dir)
        names = [training.name for training in trainings]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ConfigError(f"two trainings of the study would be called {twice}.")
        for training in trainings:
            made = self.composed(training)
            check_same(directory_of(made), made)

    def run(self, trainings: Sequence[Training], *, stage: str) -> dict[str, RunDirectory]:
        """Train and evaluate what is not done yet.

        Args:
            trainings: checked.
            stage: what they are for; results of trainings are kept in a folder of this name.

        Returns:
            The finished runs by the trainings' names.

        Raises:
            RunError: some failed; all others are done.
        """
        found = {each.name: directory_of(self.composed(each)) for each in trainings}
        left = [each for each in trainings if not self._done(each, found[each.name])]
        said = f"{stage}: {len(trainings)} trainings"
        self._console.print(said + (f", {len(left)} to do" if left else ", all done"))
        if left:
            for each in left:
                _until_saved(found[each.name].path, say=self._console.print)
            self._launch(left, stage)
        return found

    def table(self, trainings: Sequence[Training]) -> None:
        """Leave the cells of trainings in table.json, as a sweep does, for eval and report."""
        cells = []
        for training in trainings:
            made = self.composed(training)
            directory = directory_of(made)
            cells.append(
                {
                    "overrides": made.overrides,
                    "run": str(directory.path),
                    "fingerprint": made.fingerprint,
                    "status": "kept",
                    "summary": directory.summary,
                }
            )
        write_table(self._folder, cells)

    def _launch(self, left: Sequence[Training], stage: str) -> None:
        place = self._folder / stage
        for stale in (place / "cells").glob("*.json"):
            stale.unlink()
        evaluations = {each.name: split(each.evaluation, "evaluation") for each in left}
        job = partial(run_training, bench=self._bench, evaluations=evaluations)
        cells = [self._typed(each) for each in left]
        with saving_cells():
            launch(
                cells,
                job,
                folder=place,
                hydras=self._hydras,
                config_dir=self._bench.config_dir,
            )
        failed = [cell for cell in read_cells(place) if cell["status"] == "failed"]
        for cell in failed:
            line = f"failed  {' '.join(cell['overrides'])}\n        {cell['error']}"
            self._console.print(line, soft_wrap=True, markup=False)
        if failed or len(read_cells(place)) < len(left):
            raise RunError(
                f"{len(failed) or 'some'} of {len(left)} trainings failed (see above). The same "
                "command runs those again and no others."
            )

    def _typed(self, training: Training) -> list[str]:
        own = split(training.overrides, training.name)
        return [*self._shared, *own, f"name={training.name}", f"output={quoted(str(self._folder))}"]

    def _done(self, training: Training, directory: RunDirectory) -> bool:
        if directory.summary is None:
            return False
        return not training.evaluation or _evaluated(directory.path).is_file()


def run_training(_: DictConfig, *, bench: Bench, evaluations: dict[str, list[str]]) -> None:
    """One training, as Hydra's launchers call it, and its evaluation."""
    cell = current_cell()
    result = bench.train(cell)
    name = Path(result["run"]).name if "run" in result else ""
    if result["status"] != "failed" and evaluations.get(name):
        asked = [f"run={quoted(result['run'])}", *evaluations[name]]
        if (told := bench.run("eval", asked))["status"] == "failed":
            result |= told
    write_cell(cell.folder, cell.number, result)
    with lasting():
        print(f"{cell.folder.name} {cell.number}  {name} {result['status']}{_score(result)}")


def _until_saved(run: Path, *, say: Callable[[str], None]) -> None:
    """Wait for a training that outlived the study that began it; it was asked to save and end."""
    if (file := run / ".lock").exists():
        with one_at_a_time(file, what=run.name, say=say):
            return


def split(text: str, field: str) -> list[str]:
    """The words of a text as a shell would split them.

    Raises:
        ConfigError: a quotation mark is not closed.
    """
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"{field}={text!r} cannot be read: {error}.") from None


def _evaluated(run: Path) -> Path:
    return EvaluationFolder(run, "test").path / "results.json"


def _score(result: dict[str, Any]) -> str:
    after = (result.get("summary") or {}).get("student_after") or {}
    return f"  accuracy {after['accuracy']:.1%}" if "accuracy" in after else ""
