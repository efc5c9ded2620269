"""Processes that each hold a part of every weight: torch's FSDP2, with our sums.

https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from distillkit.core import world
from distillkit.distributed.placement import Placement
from distillkit.distributed.replicas import Replicas
from distillkit.distributed.several import Several


@dataclass(frozen=True, slots=True)
class Sharded(Several):
    """This process among several, ``size / replicas`` of which hold a model together."""

    replicas: int = 1
    """Groups that each hold the whole model (HSDP); their gradients are summed."""
    whole_teacher: bool = False
    """Whether every process has all of the teacher."""

    IN_STEP: ClassVar = True

    @property
    def layout(self) -> str:
        """Both sums, inside of a group and over groups, round by their number."""
        return f"{self.replicas} x {self.shards} shards"

    @property
    def shards(self) -> int:
        """Processes that hold a model together."""
        return self.size // self.replicas

    @property
    def of_teacher(self) -> Placement:
        """A part of it too, or all of it."""
        return Replicas(self.rank, self.size) if self.whole_teacher else self

    @property
    def copies(self) -> float:
        """Every process has one part."""
        return world.local_size() / self.shards

    def reshard(self, module: nn.Module) -> None:
        """The parts that stay after a forward pass are the root's."""
        for part in parts_of(module):
            part.module.reshard()

    def reduce_and_clip(self, parameters: Sequence[nn.Parameter], limit: float) -> float:
        """The backward pass has summed them already."""
        norm = nn.utils.clip_grad_norm_(parameters, limit)
        return float(norm.full_tensor().item() if isinstance(norm, DTensor) else norm.item())

    @contextmanager
    def whole(self, *modules: nn.Module) -> Iterator[None]:
        """Gathered once, so that passes inside need no other process and may differ in number."""
        # A block inside of another one leaves the work to that.
        fresh = [each for each in modules if not getattr(each, "is_whole", False)]
        parts = [part for module in fresh for part in parts_of(module)]
        freed = [part for part in parts if part.frees]
        with torch.no_grad():
            for each in parts:
                each.module.unshard()
            for each in freed:
                each.module.set_reshard_after_forward(False, recurse=False)
        for each in fresh:
            each.is_whole = True
        try:
            yield
        finally:
            for each in fresh:
                each.is_whole = False
            for each in freed:
                each.module.set_reshard_after_forward(True, recurse=False)
            for each in parts:
                each.module.reshard()

    def shard(self, module: nn.Module, *, layers: Sequence[nn.Module], narrow: bool) -> None:
        """Deal out a module that every process has read whole.

        Args:
            module: a transformers model.
            layers: those of its parts that are gathered one at a time.
            narrow: gather and compute the layers in bf16; what is outside of them stays fp32.
        """
        mesh = self.mesh(next(module.parameters()).device.type)
        half = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        for layer in layers:
            fully_shard(layer, mesh=mesh, **({"mp_policy": half} if narrow else {}))
        fully_shard(module, mesh=mesh)

    def mesh(self, device: str) -> DeviceMesh:
        """Processes by group and place in it; without the first where there is one group."""
        if self.replicas == 1:
            return init_device_mesh(device, (self.size,), mesh_dim_names=("shard",))
        shape = (self.replicas, self.shards)
        return init_device_mesh(device, shape, mesh_dim_names=("replicate", "shard"))


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a sharded model that is gathered at once."""

    module: Any
    frees: bool
    """Whether its weights go after its forward pass, and are gathered again for the backward."""


def parts_of(module: nn.Module) -> list[Part]:
    """The parts of a sharded model; none of one that is not.

    Layers, which stand in lists, and an embedding of its own are freed; norm and head are needed
    again at once.
    """
    freed = {
        id(item) for each in module.modules() if isinstance(each, nn.ModuleList) for item in each
    }
    embedding, head = module.get_input_embeddings(), module.get_output_embeddings()
    if embedding.weight is not head.weight:
        freed.add(id(embedding))
    return [
        Part(each, frees=id(each) in freed)
        for each in module.modules()
        if isinstance(each, FSDPModule)
    ]


def sum_gradients(module: nn.Module) -> None:
    """Have a sharded model's gradients summed, where FSDP would take their mean.

    The weights of positions are those of the global batch, so a mean would be a fraction. Without
    the forced sum gloo refuses the factor, and NCCL zeroes it in bf16 up to torch 2.13
    (pytorch/pytorch#190747).
    """
    for part in parts_of(module):
        part.module.set_gradient_divide_factor(1.0)
        part.module.set_force_sum_reduction_for_comms(True)
