"""Processes that are not there: what one of many would hold, asked on a machine with one.

torch's fake process group answers every collective at once and moves nothing, so shapes alone mean
anything inside.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from distillkit.distributed.sharded import parts_of


@contextmanager
def imagined(size: int) -> Iterator[None]:
    """Be the first of so many processes inside; it has the largest part of every weight."""
    # Outside of torch's tests nobody needs it, and it is there in every wheel.
    from torch.testing._internal.distributed.fake_pg import FakeStore

    assert not dist.is_initialized(), "nothing real may be joined by what is imagined"
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=size)
    try:
        yield
    finally:
        dist.destroy_process_group()


@dataclass(frozen=True, slots=True)
class Holding:
    """Bytes of a model's parameters in one process; what is gathered is 0 for a whole model."""

    own: int
    """Of its part of every one, or of all where it is whole."""
    learning: int = 0
    """Of those among them that have a gradient."""
    gathered: int = 0
    """Of all of them gathered, in the type that they are multiplied in."""
    kept: int = 0
    """Of those among them that stay gathered from the first layer to the loss."""
    passing: int = 0
    """Of the two largest neighbours among the others: one is used while the next one comes."""
    summed: int = 0
    """Of the largest layer's gradient, and of the copy of it that is summed over processes."""


def holding_of(module: nn.Module) -> Holding:
    """What this process holds of a model, dealt out or whole; read from the module itself."""
    own = [(_bytes(each), each.requires_grad) for each in module.parameters()]
    groups = _groups(module)
    kept = sum(each.gathered for each in groups if each.stays)
    passing = [each.gathered for each in groups if not each.stays]
    return Holding(
        own=sum(size for size, _ in own),
        learning=sum(size for size, learns in own if learns),
        gathered=kept + sum(passing),
        kept=kept,
        passing=max(map(sum, pairwise([*passing, 0])), default=0),
        summed=max((each.gathered + each.summed for each in groups if each.layer), default=0),
    )


def _bytes(weight: Tensor) -> int:
    held = weight.to_local() if isinstance(weight, DTensor) else weight
    return held.numel() * held.element_size()


@dataclass(frozen=True, slots=True)
class _Group:
    """Parameters that are gathered at once."""

    gathered: int
    summed: int
    """Bytes in which their gradient is summed."""
    stays: bool
    """Whether they are still there when the loss is taken."""
    layer: bool


def _groups(module: nn.Module) -> list[_Group]:
    """In the order in which they are used; a weight that is tied after sharding stands in two."""
    states = {
        id(state): (state, part)
        for part in parts_of(module)
        if (state := fully_shard.state(part.module))
    }
    groups = []
    for state, part in states.values():
        policy = state._mp_policy
        for group in state._fsdp_param_groups:
            numbers = [each._orig_size.numel() for each in group.fsdp_params]
            types = [policy.param_dtype or each.sharded_param.dtype for each in group.fsdp_params]
            gathered = sum(
                count * kind.itemsize for count, kind in zip(numbers, types, strict=True)
            )
            wide = (policy.reduce_dtype or types[0]).itemsize
            # The root frees nothing, whatever it says.
            stays = not group._reshard_after_forward or part.module is module
            groups.append(_Group(gathered, sum(numbers) * wide, stays, part.frees))
    return groups
