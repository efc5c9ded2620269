"""Where a run is: which process does what, and how all of them take one step."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from torch import nn

Item = TypeVar("Item")


class Placement(Protocol):
    """The processes of a run, and what each holds of its models."""

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        ...

    @property
    def size(self) -> int:
        """Number of processes."""
        ...

    @property
    def chief(self) -> bool:
        """Whether this process writes journals and checkpoints, and tells tracker and person."""
        ...

    def place(self, module: nn.Module) -> nn.Module:
        """A module that was loaded, held as this placement holds it."""
        ...

    def mine(self, items: Sequence[Item]) -> Sequence[Item]:
        """This process's share of what all have."""
        ...

    def gather(self, mine: Sequence[Item]) -> list[Item]:
        """All processes' items, in the order they had before :meth:`mine`."""
        ...

    def merge(self, mine: Mapping[int, Item]) -> dict[int, Item]:
        """All processes' entries of one mapping, whose keys no two share."""
        ...

    def add_up(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Numbers of the same names, summed over all processes."""
        ...

    def reduce_and_clip(self, parameters: Sequence[nn.Parameter], limit: float) -> float:
        """Sum the gradients over all processes, scale them down to a length, return their own."""
        ...

    def whole(self, module: nn.Module) -> AbstractContextManager[nn.Module]:
        """The module with all of its weights here, to be written with or saved; inside alone."""
        ...

    def agreed(self, asked: bool) -> bool:
        """Whether any process was asked to stop, so that all stop after the same update."""
        ...
