"""Processes that each hold everything: each writes and scores its rows, all take the same step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn

from distillkit.distributed.placement import Placement

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Replicas(Placement):
    """This process among several, joined by ``torch.distributed``; rows are dealt out in turns."""

    def mine(self, items: Sequence[Item]) -> Sequence[Item]:
        """Every ``size``-th item."""
        return items[self.rank :: self.size]

    def gather(self, mine: Sequence[Item]) -> list[Item]:
        """In the order they had before :meth:`mine`."""
        shares = self._shares(mine)
        count = sum(map(len, shares))
        return [shares[place % self.size][place // self.size] for place in range(count)]

    def merge(self, mine: Mapping[int, Item]) -> dict[int, Item]:
        """No two share a key."""
        return {key: item for share in self._shares(mine) for key, item in share.items()}

    def add_up(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """A process without a row has no names of its own."""
        shares = self._shares(numbers)
        names = dict.fromkeys(name for share in shares for name in share)
        return {name: fsum(share.get(name, 0.0) for share in shares) for name in names}

    def reduce_and_clip(self, parameters: Sequence[nn.Parameter], limit: float) -> float:
        """A parameter without a gradient here counts as zero: every process joins every sum."""
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)
        return Placement.reduce_and_clip(self, parameters, limit)

    def agreed(self, asked: bool) -> bool:
        """One is enough."""
        return any(self._shares(asked))

    def _shares(self, mine: Item) -> list[Item]:
        """Everybody's, by rank."""
        shares: list[Item] = [mine] * self.size
        dist.all_gather_object(shares, mine)
        return shares
