"""The trainings of a study: checked together, run here or by a launcher of Hydra's, evaluated."""

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

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
from distillkit.programs.study.together import DIED, Answer, Work, run_together, told
from distillkit.programs.tasks import this_task
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
        self._shared, self._said = overridden(split(run.train, "train"), run.typed), run.typed
        self._hydras = split(run.launcher, "launcher")
        self._jobs = run.jobs
        threads = max(1, (os.cpu_count() or 1) // run.jobs) if run.jobs > 1 else None
        place = config_dir and config_dir.resolve()
        self._made: dict[Training, Composed] = {}
        self._bench = Bench(f"study-{folder.name}", place, plugins, threads)

    def composed(self, training: Training) -> Composed:
        """The training as a run, which is composed once.

        Raises:
            ConfigError: it cannot be composed, or must not be run.
        """
        if training not in self._made:
            self._made[training] = self._compose(training)
        return self._made[training]

    def _compose(self, training: Training) -> Composed:
        bench, typed = self._bench, self._typed(training)
        try:
            made = compose("train", typed, config_dir=bench.config_dir, plugins=bench.plugins)
            check_fields(made.run, made.overrides)
        except DistillkitError as error:
            raise ConfigError(f"the training {training.name} cannot be run: {error}") from error
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
            work = [self._work(each) for each in left]
            failed = self._launch(work, stage) if self._hydras else self._run_here(work)
            _raise_failed(failed, len(left), self._console)
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

    def _run_here(self, work: Sequence[Work]) -> dict[str, str]:
        """What failed, and why."""
        answers: dict[str, str] = {}

        def heard(answer: Answer) -> None:
            answers[answer["name"]] = answer["error"]
            self._console.print(told(answer), soft_wrap=True)

        run_together(work, self._bench, processes=self._jobs, heard=heard)
        for each in work:
            # Their process died. In one of its own, who dies takes no other with it.
            if each["name"] not in answers:
                run_together([each], self._bench, processes=1, heard=heard)
        found = {each["name"]: answers.get(each["name"], DIED) for each in work}
        return {name: error for name, error in found.items() if error}

    def _launch(self, work: Sequence[Work], stage: str) -> dict[str, str]:
        """What failed, and why."""
        place = self._folder / stage
        for stale in (place / "cells").glob("*.json"):
            stale.unlink()
        job = partial(run_launched, bench=self._bench, work=work)
        cells = [each["train"] for each in work]
        with saving_cells():
            launch(cells, job, folder=place, hydras=self._hydras, config_dir=self._bench.config_dir)
        answers = {cell["name"]: cell.get("error", "") for cell in read_cells(place)}
        found = {each["name"]: answers.get(each["name"], "it did not run") for each in work}
        return {name: error for name, error in found.items() if error}

    def _work(self, training: Training) -> Work:
        made = self.composed(training)
        asked = split(training.evaluation, "evaluation")
        place = f"run={quoted(str(directory_of(made).path))}"
        return {
            "name": training.name,
            "train": self._bench.grouped(made),
            "eval": [place, *asked] if asked else [],
        }

    def _typed(self, training: Training) -> list[str]:
        place = f"output={quoted(str(self._folder))}"
        own = [*split(training.overrides, training.name), f"name={training.name}", place]
        for item in self._said:
            if _key(item) in map(_key, own):
                raise ConfigError(
                    f"train.{item.lstrip('+~')} would have no effect: the study itself says "
                    f"{_key(item)} of the training {training.name}. See the study's own fields "
                    "with distillkit show --verb."
                )
        return [*self._shared, *own]

    def _done(self, training: Training, directory: RunDirectory) -> bool:
        if directory.summary is None:
            return False
        return not training.evaluation or _evaluated(directory.path).is_file()


def run_launched(_: DictConfig, *, bench: Bench, work: Sequence[Work]) -> None:
    """One training as Hydra's launchers call it, in a process of its own.

    Several tasks train together first, and the chief's process finds that done.
    """
    cell, task = current_cell(), this_task()
    each = work[cell.number]
    error = bench.train_apart(each["train"], task).get("error", "") if task.size > 1 else ""
    if not task.chief:
        return
    answers: list[Answer] = []
    if not error:
        error = DIED
        run_together([each], bench, processes=1, heard=answers.append)
    answer = answers[0] if answers else Answer(name=each["name"], error=error, score="")
    status = (
        {"status": "failed", "error": answer["error"]} if answer["error"] else {"status": "done"}
    )
    write_cell(
        cell.folder, cell.number, {"name": each["name"], "overrides": each["train"], **status}
    )
    with lasting():
        print(told(answer))


def _raise_failed(failed: Mapping[str, str], count: int, console: Console) -> None:
    for name, error in failed.items():
        console.print(f"failed  {name}\n        {error}", soft_wrap=True)
    if failed:
        raise RunError(
            f"{len(failed)} of {count} trainings failed (see above). The same command runs those "
            "again and no others."
        )


def _until_saved(run: Path, *, say: Callable[[str], None]) -> None:
    """Wait for a training that outlived the study that began it; it was asked to save and end."""
    if (file := run / ".lock").exists():
        with one_at_a_time(file, what=run.name, say=say):
            return


def overridden(overrides: Sequence[str], typed: Sequence[str]) -> list[str]:
    """Overrides with others over them, which drop what was said of a field or inside a group."""
    said = {_key(item) for item in typed}
    kept = [
        item
        for item in overrides
        if not any(_key(item) == key or _key(item).startswith(f"{key}.") for key in said)
    ]
    return [*kept, *typed]


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


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
