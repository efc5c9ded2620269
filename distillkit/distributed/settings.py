"""How a training is laid out over processes, as it is typed."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import torch

from distillkit.core import world
from distillkit.core.bounds import ABOVE_ZERO, POSITIVE, check_range
from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.distributed.group import join
from distillkit.distributed.placement import ALONE, Placement

STARTED = "torchrun --nproc-per-node 2 -m distillkit train ..."


@dataclass(kw_only=True, slots=True)
class PlacementSettings(ABC):
    """Who holds what: a component of the group ``placement``. It changes no result but rounding."""

    SHARDS: ClassVar = False
    """Whether a process holds but a part of a model."""

    timeout: float = 1800.0
    """Seconds after which a process that does not answer is given up, and the run ends."""

    def __post_init__(self) -> None:
        check_range(self, "placement.", ABOVE_ZERO, "timeout")

    @abstractmethod
    def check(self, size: int) -> None:
        """Refuse so many processes.

        Raises:
            ConfigError: this layout is none for them.
        """

    @abstractmethod
    def of(self, rank: int, size: int) -> Placement:
        """The placement of one process among so many."""

    def open(self, device: torch.device) -> Placement:
        """Join the processes that were started with this one.

        Raises:
            DistillkitError: there are too many or too few of them, or they cannot be found.
        """
        self.check(world.size())
        placement = self.of(world.rank(), world.size())
        if placement is not ALONE:
            placement.device(device)
            join(device, seconds=self.timeout)
        return placement


@spec("placement/auto")
class Automatic(PlacementSettings):
    """One process alone, or a replica in each of those that were started."""

    def check(self, size: int) -> None:
        """Any number will do."""

    def of(self, rank: int, size: int) -> Placement:
        from distillkit.distributed.replicas import Replicas

        return ALONE if size == 1 else Replicas(rank, size)


@spec("placement/alone")
class Alone(PlacementSettings):
    """One process, which holds everything."""

    def check(self, size: int) -> None:
        if size > 1:
            raise ConfigError(
                f"placement=alone, and {size} processes were started. Start one without torchrun, "
                "or use placement=replicas or placement=sharded."
            )

    def of(self, rank: int, size: int) -> Placement:
        return ALONE


@spec("placement/replicas")
class ReplicaSettings(PlacementSettings):
    """Several processes that each hold everything and share the rows of a batch."""

    def check(self, size: int) -> None:
        _several("replicas", size)

    def of(self, rank: int, size: int) -> Placement:
        from distillkit.distributed.replicas import Replicas

        return Replicas(rank, size)


class Held(StrEnum):
    """How the teacher is held."""

    sharded = "sharded"
    whole = "whole"


@spec("placement/sharded")
class ShardedSettings(PlacementSettings):
    """Several processes that each hold a part of every weight (FSDP2)."""

    SHARDS: ClassVar = True

    replicas: int = 1
    """Groups of processes that each hold the whole model together (HSDP): the number of machines,
    where each can hold it."""
    teacher: Held = Held.sharded
    """``whole`` puts all of the teacher into every process: faster where there is room."""

    def __post_init__(self) -> None:
        PlacementSettings.__post_init__(self)
        check_range(self, "placement.", POSITIVE, "replicas")

    def check(self, size: int) -> None:
        _several("sharded", size)
        if size % self.replicas or size == self.replicas:
            raise ConfigError(
                f"placement.replicas={self.replicas} does not divide {size} processes into groups "
                "of two or more. Choose a divisor, or use placement=replicas where every process "
                "holds everything."
            )

    def of(self, rank: int, size: int) -> Placement:
        from distillkit.distributed.sharded import Sharded

        return Sharded(rank, size, self.replicas, self.teacher is Held.whole)


def _several(name: str, size: int) -> None:
    if size == 1:
        raise ConfigError(
            f"placement={name} takes several processes, and one was started. Start them with "
            f"{STARTED}, in a sweep with hydra.launcher.tasks_per_node=2, or use placement=auto."
        )
