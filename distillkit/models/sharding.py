"""Sharded models of transformers: read in parts where the family has a plan, else dealt out whole.

https://huggingface.co/docs/transformers/main/en/fsdp; families without a plan (GPT-2, Gemma) are
read whole by every process and dealt out layer by layer. So are models whose head is tied to the
embedding, which are small: by its plan transformers 5.23 deals the two out before it ties them, and
one weight would be gathered as two.
"""

from types import MethodType
from typing import Any
from warnings import filterwarnings

import torch
from transformers import AutoConfig, AutoModelForCausalLM, DistributedConfig

from distillkit.distributed.holding import is_sharded
from distillkit.distributed.placement import Placement
from distillkit.models.layers import layers_of


def read_in_parts(
    location: str, placement: Placement, *, device: torch.device, **source: Any
) -> dict[str, Any]:
    """Arguments of ``from_pretrained`` by which every process reads only what it holds.

    Empty where it is to read all: one process, replicas, a family without a plan, a tied head.
    """
    shards = getattr(placement, "shards", 1)
    own = torch.accelerator.current_accelerator() or torch.device("cpu")
    if shards == 1 or own.type != device.type:
        return {}
    config = AutoConfig.from_pretrained(location, **source)
    family = AutoModelForCausalLM._model_mapping.get(type(config), None)
    planned = getattr(config, "base_model_fsdp_plan", None) and getattr(family, "_fsdp_plan", None)
    if not planned or getattr(config.get_text_config(), "tie_word_embeddings", False):
        return {}
    sizes = DistributedConfig(fsdp_size=shards, dp_replicate_size=placement.size // shards)
    return {"distributed_config": sizes}


def deal_out(module: Any, placement: Placement, *, narrow: bool) -> None:
    """Shard a model that is not yet, and have its gradients summed.

    Args:
        module: as it was read, on its device.
        placement: one that shards.
        narrow: see :meth:`distillkit.distributed.sharded.Sharded.shard`.
    """
    # Heavy to load, and only for what is sharded.
    from distillkit.distributed.sharded import Sharded, sum_gradients

    assert isinstance(placement, Sharded)
    if not is_sharded(module):
        placement.shard(module, layers=layers_of(module), narrow=narrow)
    else:
        # What is saved later is an ordinary model.
        del module.config.distributed_config
    # It warns of what is done in place to a view that comes out, and nothing is.
    filterwarnings("ignore", message="FSDP2-wrapped module")
    module.states = MethodType(_states, module)
    torch.distributed.fsdp.register_fsdp_forward_method(module, "states")
    sum_gradients(module)


def _states(module: Any, **inputs: Any) -> Any:
    """The body, called through the root: FSDP allows one root, and the head belongs to it."""
    return module.base_model(**inputs)
