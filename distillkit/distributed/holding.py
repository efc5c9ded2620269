"""What a module looks like that FSDP has dealt out, told without loading FSDP."""

from contextlib import AbstractContextManager
from typing import Any

import torch


def is_sharded(module: Any) -> bool:
    """Whether a process holds but a part of a module's weights."""
    return getattr(module, "_is_fsdp_managed_module", False)


def own_class(module: Any) -> type:
    """The class that a module had before it was dealt out."""
    return next(each for each in type(module).__mro__ if not each.__name__.startswith("FSDP"))


def second_names(module: Any) -> set[str]:
    """Names of weights that have another one already, as a head tied to an embedding has."""
    every = module.named_parameters(remove_duplicate=False)
    return {name for name, _ in every} - {name for name, _ in module.named_parameters()}


def gather_head(module: Any) -> None:
    """Have the weights of a sharded model's head here; they are, after a pass through its body."""
    holders = (module.get_output_embeddings(), module.get_input_embeddings(), module)
    # A tied weight is dealt out with the embedding.
    next(each for each in holders if hasattr(each, "unshard")).unshard()


def without_gradient(module: Any) -> AbstractContextManager[Any]:
    """No gradient inside; weights that were gathered in inference mode could not learn after it."""
    return torch.no_grad() if is_sharded(module) else torch.inference_mode()
