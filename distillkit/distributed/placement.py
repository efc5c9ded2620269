"""Where a run is: which process does what, and how all of them take one step."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

from torch import nn

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Placement:
    """The processes of a run, and what each holds of its models: here one, which holds it all."""

    rank: int = 0
    """Number of this process, from 0."""
    size: int = 1
    """Number of processes."""

    @property
    def chief(self) -> bool:
        """Whether this process writes journals and checkpoints, and tells tracker and person."""
        return self.rank == 0

    def place(self, module: nn.Module) -> nn.Module:
        """A module that was loaded, held as this placement holds it."""
        return module

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

    def reduce_and_clip(self, parameters: Sequence[nn.Parameter], limit: float) -> float:
        """Sum the gradients over all processes, scale them down to a length, return their own."""
        return float(nn.utils.clip_grad_norm_(parameters, limit).item())

    def whole(self, module: nn.Module) -> AbstractContextManager[nn.Module]:
        """The module with all of its weights here, to be written with or saved; inside alone."""
        return nullcontext(module)

    def agreed(self, asked: bool) -> bool:
        """Whether any process was asked to stop, so that all stop after the same update."""
        return asked


ALONE = Placement()
