"""Processes that each hold everything: each writes and scores its rows, all take the same step."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn

from distillkit.core import world
from distillkit.distributed.placement import Placement
from distillkit.distributed.several import Several


@dataclass(frozen=True, slots=True)
class Replicas(Several):
    """This process among several whose weights are equal."""

    @property
    def layout(self) -> str:
        """The sum over processes rounds by their number."""
        return f"{self.size} replicas"

    @property
    def copies(self) -> float:
        """Every process has its own."""
        return float(world.local_size())

    def reduce_and_clip(self, parameters: Sequence[nn.Parameter], limit: float) -> float:
        """Each process has those of its rows."""
        self.add(parameters)
        return Placement.reduce_and_clip(self, parameters, limit)

    @staticmethod
    def add(parameters: Iterable[nn.Parameter]) -> None:
        """A parameter without a gradient here counts as zero: every process joins every sum."""
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)
