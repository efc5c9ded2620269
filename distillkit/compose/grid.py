"""Grids: what their cells are, and Hydra's multirun over them."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice, product
from math import prod
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from distillkit.compose.composing import searched, with_hydra_in
from distillkit.compose.environment import reading_environment
from distillkit.compose.lost_jobs import outlived
from distillkit.compose.typed import for_hydra, quoted, read_overrides
from distillkit.compose.wording import one_sentence
from distillkit.core.errors import ConfigError

MOST = 2_000
"""Cells of a grid, each of which is composed before the first one runs."""

QUIET = ("hydra/hydra_logging=none", "hydra/job_logging=none")
"""Hydra sets up no logging: doing so would close the streams of other libraries' handlers."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A grid as asked for."""

    cells: list[list[str]]
    """Overrides of each cell; of some that together have every value, where a sweeper chooses as it
    goes."""
    varied: list[str]
    """The fields that differ between cells."""
    hydras: list[str]
    """What is said of launcher and sweeper."""
    chooses: bool
    """Whether a sweeper chooses cells by what earlier ones returned."""


def grid_of(overrides: Sequence[str]) -> Grid:
    """Read a grid.

    Raises:
        ConfigError: an override cannot be read, or a list is empty or too long.
    """
    with one_sentence(overrides):
        asked = read_overrides(for_hydra(overrides))
        hydras = [str(each.input_line) for each in asked if each.is_hydra_override()]
        chosen = [item.partition("=")[2] for item in hydras if item.startswith("hydra/sweeper=")]
        chooses = bool(chosen) and chosen[-1] != "basic"
        own = [each for each in asked if not each.is_hydra_override()]
        varied = [each for each in own if each.is_sweep_override()]
        values = {id(each): _values(each, chooses=chooses) for each in own}
        lists = list(values.values())
        if chooses:
            first = [each[0] for each in lists]
            cells = [first]
            for index, each in enumerate(lists):
                cells += [[*first[:index], value, *first[index + 1 :]] for value in each[1:]]
        else:
            if prod(map(len, lists)) > MOST:
                raise ConfigError(
                    f"{' '.join(overrides)} has more than {MOST} cells. Sweep over fewer values."
                )
            cells = [list(cell) for cell in product(*lists)]
        return Grid(cells, [each.get_key_element() for each in varied], hydras, chooses)


def _values(override: Override, *, chooses: bool) -> list[str]:
    """An override once for each value that it takes in a grid."""
    line = str(override.input_line)
    if not override.is_sweep_override():
        return [line]
    key, value = override.get_key_element(), override.value()
    if isinstance(value, IntervalSweep):
        if not chooses:
            raise ConfigError(
                f"{line}: an interval has no end of values. List them, or choose a sweeper that "
                "draws them, as in hydra/sweeper=optuna."
            )
        return [f"{key}={value.start}", f"{key}={value.end}"]
    values = list(islice(override.sweep_string_iterator(), MOST + 1))
    if not values:
        raise ConfigError(f"{line} holds no value. Give some, as in seed=0,1.")
    return [f"{key}={each}" for each in values]


def check_hydra(hydras: Sequence[str], config_dir: Path | None) -> None:
    """Find out before the first cell whether Hydra has what is asked of launcher and sweeper.

    Raises:
        ConfigError: it is about something else, there is no such launcher or sweeper, or it has no
            such field.
    """
    with one_sentence(hydras):
        if other := [item for item in read_overrides(hydras) if not item.is_hydra_override()]:
            raise ConfigError(f"{other[0].input_line} says nothing of a launcher or sweeper.")
        with_hydra_in("train", config_dir)
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        hydra.compose_config(
            config_name="train",
            overrides=[*hydras, *searched(config_dir)],
            run_mode=RunMode.MULTIRUN,
            with_log_configuration=False,
        )


def multirun(
    overrides: Sequence[str],
    job: Callable[[DictConfig], Any],
    *,
    folder: Path,
    config_dir: Path | None = None,
) -> None:
    """Hand a grid of trainings to Hydra's multirun.

    Args:
        overrides: the grid.
        job: called for each cell; launchers pickle it.
        folder: the sweep's own.
        config_dir: a folder of the user's own yaml files.

    Raises:
        ConfigError: Hydra cannot run it.
    """
    logging.getLogger("hydra").setLevel(logging.ERROR)
    place = [f"hydra.sweep.dir={quoted(str(folder))}", *QUIET, *searched(config_dir)]
    with one_sentence(overrides), reading_environment(overrides), outlived(overrides):
        with_hydra_in("train", config_dir)
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        hydra.multirun("train", task_function=job, overrides=[*for_hydra(overrides), *place])


def launch(
    cells: Sequence[Sequence[str]],
    job: Callable[[DictConfig], Any],
    *,
    folder: Path,
    hydras: Sequence[str],
    config_dir: Path | None = None,
) -> None:
    """Hand trainings that are no grid to one of Hydra's launchers.

    Args:
        cells: overrides of each.
        job: called for each cell; launchers pickle it.
        folder: of what is kept of the cells.
        hydras: what is said of the launcher.
        config_dir: a folder of the user's own yaml files.

    Raises:
        ConfigError: Hydra cannot run them.
    """
    logging.getLogger("hydra").setLevel(logging.ERROR)
    place = [f"hydra.sweep.dir={quoted(str(folder))}", *QUIET, *searched(config_dir)]
    typed = [item for cell in cells for item in cell]
    with one_sentence(hydras), reading_environment(typed), outlived(hydras):
        with_hydra_in("train", config_dir)
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        config = hydra.compose_config(
            config_name="train",
            overrides=[*hydras, *place],
            run_mode=RunMode.MULTIRUN,
            with_log_configuration=False,
        )
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=HydraContext(hydra.config_loader, Callbacks(config)),
            task_function=job,
            config=config,
        )
        launcher.launch([for_hydra(cell) for cell in cells], initial_job_idx=0)


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a multirun: number, overrides, the sweep's folder, and who chose it."""

    number: int
    overrides: list[str]
    folder: Path
    sweeper: str


def current_cell() -> Cell:
    """The cell that this process was called for, on whatever machine the launcher put it."""
    hydra_config = HydraConfig.get()
    return Cell(
        hydra_config.job.num,
        list(hydra_config.overrides.task),
        Path(hydra_config.sweep.dir),
        str(hydra_config.runtime.choices["hydra/sweeper"]),
    )
