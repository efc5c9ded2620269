"""Which process this is among those that were started together, as torchrun tells each of them.

Read from the environment, so that nobody has to load torch to know whether to speak.
"""

import os

from distillkit.core.errors import ConfigError

APART = "DISTILLKIT_APART"
"""Set where what each process says is read by itself, so that none is silent for another."""


def rank() -> int:
    """Number of this process, from 0."""
    return _number("RANK", 0)


def size() -> int:
    """Number of processes; 1 where nobody started several."""
    return max(1, _number("WORLD_SIZE", 1))


def local_rank() -> int:
    """Number of this process on its machine, from 0."""
    return _number("LOCAL_RANK", 0)


def local_size() -> int:
    """Number of processes on this machine."""
    return max(1, _number("LOCAL_WORLD_SIZE", 1))


def apart() -> bool:
    """Whether what this process says is read by itself, not among what the others say."""
    return APART in os.environ


def check_one(what: str) -> None:
    """Refuse several processes for what is the work of one.

    Raises:
        ConfigError: several were started.
    """
    if size() > 1:
        raise ConfigError(
            f"{what} runs in one process, and {size()} were started. Start it without torchrun: "
            "distillkit train alone shares its work, and the cells of a sweep do with "
            "hydra/launcher=submitit_slurm and hydra.launcher.tasks_per_node=2."
        )


def _number(name: str, otherwise: int) -> int:
    said = os.environ.get(name, "")
    return int(said) if said.isdecimal() else otherwise
