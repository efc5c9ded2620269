"""Which task of a cell this is: a scheduler may start several, one for each process that trains."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from distillkit.core import world

NUMBERS = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    # Left from an outer torchrun, it would have the chief wait for a store that nobody opens.
    "TORCHELASTIC_USE_AGENT_STORE",
)
"""Environment variables by which processes that were started together are told apart."""


@dataclass(frozen=True, slots=True)
class Task:
    """This process among those that a launcher started for one cell; here it is the only one."""

    rank: int = 0
    """Number of this task, from 0."""
    size: int = 1
    """Number of tasks of the cell."""
    numbers: Mapping[str, str] = field(default_factory=dict)
    """What torchrun would tell the process that trains; empty where it is the only one."""

    @property
    def chief(self) -> bool:
        """Whether this task says what became of the cell."""
        return self.rank == 0

    @property
    def environment(self) -> dict[str, str]:
        """Environment of the process that trains.

        What told a launcher's worker which process it is among others is not meant for a cell.
        """
        kept = {name: value for name, value in os.environ.items() if name not in NUMBERS}
        if self.size == 1:
            return kept
        # As torchrun does: all processes with all cores each would be in each other's way.
        return {"OMP_NUM_THREADS": "1", **kept, **self.numbers, world.APART: "1"}


def this_task() -> Task:
    """The task that this process is, as submitit says where it has started it."""
    if "SUBMITIT_EXECUTOR" not in os.environ:
        return Task()
    from submitit import JobEnvironment
    from submitit.helpers import TorchDistributedEnvironment

    # A port that was typed for one training would be that of all cells on a machine.
    os.environ.pop("MASTER_PORT", None)
    job, told = JobEnvironment(), TorchDistributedEnvironment()
    if told.world_size == 1:
        return Task()
    # Not every machine finds itself by its own name.
    address = "127.0.0.1" if job.num_nodes == 1 else told.master_addr
    numbers = {
        "RANK": told.rank,
        "WORLD_SIZE": told.world_size,
        "LOCAL_RANK": told.local_rank,
        "LOCAL_WORLD_SIZE": told.local_world_size,
        "MASTER_ADDR": address,
        "MASTER_PORT": told.master_port,
    }
    return Task(told.rank, told.world_size, {name: str(number) for name, number in numbers.items()})
