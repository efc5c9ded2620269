"""How many weights a model has, told without loading them."""

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from distillkit.models.folder import check_folder, one_sentence
from distillkit.models.loading import locate
from distillkit.models.pretrained import Pretrained


def parameters_of(source: Pretrained, *, field: str) -> int:
    """Weights of a model as its configuration describes it, shared ones once.

    Args:
        source: what the user asked for.
        field: as typed, such as ``student.name``.

    Raises:
        ModelError: there is no such model, or its configuration cannot be read.
    """
    location = locate(source.name)
    check_folder(field, source.name, location)
    shared = {"revision": source.revision, "trust_remote_code": source.trust_remote_code}
    with one_sentence(field, source.name), torch.device("meta"):
        config = AutoConfig.from_pretrained(location, **shared)
        module = AutoModelForCausalLM.from_config(
            config, trust_remote_code=source.trust_remote_code
        )
    return sum(weights.numel() for weights in module.parameters())
