"""Where a run is: which process does what, and how all of them take one step."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import torch
from torch import nn

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Placement:
    """The processes of a run, and what each holds of its models: here one, which holds it all."""

    rank: int = 0
    """Number of this process, from 0."""
    size: int = 1
    """Number of processes."""

    IN_STEP: ClassVar = False
    """Whether all processes must make as many passes through a model, since each holds a part."""

    @property
    def chief(self) -> bool:
        """Whether this process writes journals and checkpoints, and tells tracker and person."""
        return self.rank == 0

    @property
    def layout(self) -> str:
        """How weights and rows are dealt out: what has to be equal for a resume to the byte."""
        return "alone"

    @property
    def of_teacher(self) -> "Placement":
        """How the teacher is held."""
        return self

    @property
    def copies(self) -> float:
        """Whole models that this machine's processes hold together of each one."""
        return 1.0

    def device(self, asked: torch.device) -> torch.device:
        """The device of this process."""
        return asked

    def mine(self, items: Sequence[Item]) -> Sequence[Item]:
        """This process's share of what all have."""
        return items

    def gather(self, mine: Sequence[Item]) -> list[Item]:
        """All processes' items, in the order they had before :meth:`mine`."""
        return list(mine)

    def merge(self, mine: Mapping[int, Item]) -> dict[int, Item]:
        """All processes' entries of one mapping, whose keys no two share."""
        return dict(mine)

    def add_up(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Numbers of the same names, summed over all processes."""
        return dict(numbers)

    def told(self, make: Callable[[], Item]) -> Item:
        """What the chief makes, told to all; an error of its is raised by all."""
        return make()

    def led(self, make: Callable[[], AbstractContextManager[Item]]) -> AbstractContextManager[Item]:
        """A context that the chief alone is in, while all do what is done inside of it."""
        return make()

    def together(self, make: Callable[[], Item]) -> Item:
        """What each process makes for itself; if any has an error, all raise the first one's."""
        return make()

    def agreed(self, signal: int | None) -> int | None:
        """The signal by which any process was asked to stop, so that all stop after one update."""
        return signal

    def reduce_and_clip(self, parameters: Sequence[nn.Parameter], limit: float) -> float:
        """Sum the gradients over all processes, scale them down to a length, return their own."""
        return float(nn.utils.clip_grad_norm_(parameters, limit).item())

    def reshard(self, module: nn.Module) -> None:
        """End what a pass has gathered of a module."""

    def whole(self, *modules: nn.Module) -> AbstractContextManager[None]:
        """Modules with all of their weights here, to be written with or measured; inside alone."""
        return nullcontext()


ALONE = Placement()
