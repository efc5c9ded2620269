"""One process that holds everything."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

from torch import nn

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Alone:
    """See :class:`distillkit.core.placement.Placement`.

    Attributes:
        rank: number of this process.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def chief(self) -> bool:
        """The first one."""
        return self.rank == 0

    def place(self, module: nn.Module) -> nn.Module:
        """It stays as it is."""
        return module

    def mine(self, items: Sequence[Item]) -> Sequence[Item]:
        """All of them."""
        return items

    def gather(self, mine: Sequence[Item]) -> list[Item]:
        """The same."""
        return list(mine)

    def merge(self, mine: Mapping[int, Item]) -> dict[int, Item]:
        """The same."""
        return dict(mine)

    def add_up(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """The same."""
        return dict(numbers)

    def reduce_and_clip(self, parameters: Sequence[nn.Parameter], limit: float) -> float:
        """Nothing is to be added."""
        return float(nn.utils.clip_grad_norm_(parameters, limit).item())

    def whole(self, module: nn.Module) -> AbstractContextManager[nn.Module]:
        """It is."""
        return nullcontext(module)

    def agreed(self, asked: bool) -> bool:
        """Nobody else is asked."""
        return asked


ALONE = Alone()
