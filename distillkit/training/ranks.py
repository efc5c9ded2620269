"""The processes that share an update: each writes and scores its rows, all take the same step."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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

    def add_up(self, parameters: Iterable[nn.Parameter], loss: float) -> float:
        """Sum the gradients in place and the loss over all processes.

        A parameter without a gradient here counts as zero, so that every process joins every sum.
        """
        if self.size == 1:
            return loss
        total = torch.tensor(loss, dtype=torch.float64)
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)
            total = total.to(parameter.device)
        dist.all_reduce(total)
        return total.item()
