"""The processes that share an update: each writes and scores its rows, all take the same step."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among all; one alone by default.

    Attributes:
        rank: number of this process.
        size: number of processes, joined by ``torch.distributed``.
    """

    rank: int = 0
    size: int = 1

    def mine(self, items: Sequence[Item]) -> Sequence[Item]:
        """Every ``size``-th item: this process's share."""
        return items[self.rank :: self.size]

    def gather(self, mine: Sequence[Item]) -> list[Item]:
        """All processes' items, in the order they had before :meth:`mine`."""
        if self.size == 1:
            return list(mine)
        shares: list[Sequence[Item]] = [()] * self.size
        dist.all_gather_object(shares, mine)
        count = sum(map(len, shares))
        return [shares[place % self.size][place // self.size] for place in range(count)]

    def merge(self, mine: Mapping[int, Item]) -> dict[int, Item]:
        """All processes' entries of one mapping, whose keys no two share."""
        if self.size == 1:
            return dict(mine)
        shares: list[Mapping[int, Item]] = [{}] * self.size
        dist.all_gather_object(shares, mine)
        return {key: item for share in shares for key, item in share.items()}

    def add_up(
        self, parameters: Iterable[nn.Parameter], numbers: Mapping[str, float]
    ) -> dict[str, float]:
        """Sum the gradients in place, and numbers of the same names, over all processes.

        A parameter without a gradient here counts as zero, so that every process joins every sum.
        """
        if self.size == 1:
            return dict(numbers)
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)
        # A process without a row has no names of its own.
        shares: list[Mapping[str, float]] = [{}] * self.size
        dist.all_gather_object(shares, dict(numbers))
        names = dict.fromkeys(name for share in shares for name in share)
        return {name: fsum(share.get(name, 0.0) for share in shares) for name in names}
