"""Overrides to a run object, a run directory back to one, and grids: all that knows Hydra."""

from distillkit.compose.composing import Composed, compose, from_config
from distillkit.compose.grid import (
    Cell,
    Grid,
    check_hydra,
    current_cell,
    grid_of,
    launch,
    multirun,
)
from distillkit.compose.options import choices
from distillkit.compose.reopening import recompose, reopen
from distillkit.compose.typed import asks_to_resume, conf_folder, quoted

__all__ = [
    "Cell",
    "Composed",
    "Grid",
    "asks_to_resume",
    "check_hydra",
    "choices",
    "compose",
    "conf_folder",
    "current_cell",
    "from_config",
    "grid_of",
    "launch",
    "multirun",
    "quoted",
    "recompose",
    "reopen",
]
