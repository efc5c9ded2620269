"""A sharded model's weights and moments: gathered on the chief, or kept as each process has them.

Shards are safetensors, written and read by torch's distributed checkpoint, which deals them out
anew to another number of processes:
https://docs.pytorch.org/docs/stable/distributed.checkpoint.html
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
    set_state_dict,
)

from distillkit.distributed.holding import second_names

LEARNS = StateDictOptions(ignore_frozen_params=True)
"""What a checkpoint holds: weights that move, and buffers."""
BETWEEN = "//"
"""Between a weight's name and that of its moment."""


def gathered(module: nn.Module) -> dict[str, Tensor]:
    """All weights of a sharded model on the chief, none elsewhere; called by all."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return get_model_state_dict(module, options=options)


def deal_out(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put the chief's weights into a sharded model; called by all, with nothing elsewhere."""
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True, strict=False)
    set_model_state_dict(module, dict(state), options=options)


def deal_out_moments(
    module: nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, Any]
) -> None:
    """Put an optimiser's state, as the chief has it of the whole model, into that of a sharded one.

    Args:
        module: the sharded model.
        optimizer: moves it.
        state: what ``optimizer.state_dict()`` gave for the whole one; nothing elsewhere.
    """
    names = {id(each): name for name, each in module.named_parameters()}
    order = [names[id(each)] for group in optimizer.param_groups for each in group["params"]]
    named: dict[str, Any] = {}
    if state:
        groups = [
            {**group, "params": [order[place] for place in group["params"]]}
            for group in state["param_groups"]
        ]
        moments = {order[place]: found for place, found in state["state"].items()}
        named = {"state": moments, "param_groups": groups}
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_optimizer_state_dict(module, optimizer, named, options=options)


def save_shards(folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write this process's part of weights and moments into a new folder; called by all."""
    # The reader takes all that lies beside it for parts.
    folder.mkdir(exist_ok=True)
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    with _plainly():
        dcp.save(_flat(*_held(module, optimizer)), storage_writer=writer)


def load_shards(folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Read what any number of processes have written; called by all.

    Raises:
        Exception: in the words of torch and safetensors, where it is not of this model.
    """
    weights, moments = _held(module, optimizer)
    flat = _flat(weights, moments)
    alone = not dist.is_initialized()
    with _plainly():
        dcp.load(flat, storage_reader=HuggingFaceStorageReader(str(folder)), no_dist=alone)
    for name, own in moments["state"].items():
        own.update({kind: flat[f"{name}{BETWEEN}{kind}"] for kind in own})
    weights = {name: flat[name] for name in weights}
    set_state_dict(
        module,
        optimizer,
        model_state_dict=weights,
        optim_state_dict=moments,
        options=StateDictOptions(ignore_frozen_params=True, strict=False),
    )


@contextmanager
def _plainly() -> Iterator[None]:
    """What went wrong in some process, such as a full disk, as that error itself in all of them."""
    try:
        yield
    except CheckpointException as error:
        first, _ = next(iter(error.failures.values()))
        raise first from None


def _held(
    module: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Weights and moments by name, each once."""
    weights, moments = get_state_dict(module, optimizer, options=LEARNS)
    second = second_names(module)
    return {name: weights[name] for name in weights if name not in second}, moments


def _flat(weights: Mapping[str, Any], moments: Mapping[str, Any]) -> dict[str, Any]:
    """Both as one mapping of tensors; what groups of the optimiser say stands in run.yaml."""
    return {
        **weights,
        **{
            f"{name}{BETWEEN}{kind}": tensor
            for name, own in moments["state"].items()
            for kind, tensor in own.items()
        },
    }
