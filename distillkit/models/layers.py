"""The layers of a transformer, whatever its family calls them."""

from typing import Any

import torch
from torch import nn


def layers_of(module: Any) -> list[nn.Module]:
    """What the longest list of modules of a transformers model holds."""
    lists = [each for each in module.base_model.modules() if isinstance(each, nn.ModuleList)]
    return [*max(lists, key=len)]


def drops(module: nn.Module) -> bool:
    """Whether a part of it leaves out at random, in the mode that it is in.

    Rates are those of torch's layers, or numbers whose name says so (``dropout``, ``layerdrop``).
    """
    return any(
        part.training and any(value > 0 for value in _rates(part)) for part in module.modules()
    )


def seed_dropout(seed: int, device: torch.device) -> None:
    """Let what layers leave out on a device follow from a seed, which a step sets once."""
    if device.type == "cpu":
        # torch.manual_seed writes the stack down for each kind of device that is not there: up to
        # half a millisecond, of the ten that a small model's step takes.
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def _rates(part: nn.Module) -> list[float]:
    if isinstance(part, nn.Dropout):
        return [part.p]
    named = vars(part).items()
    return [value for name, value in named if "drop" in name and isinstance(value, float)]
