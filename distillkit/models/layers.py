"""The layers of a transformer, whatever its family calls them."""

from typing import Any

from torch import nn


def layers_of(module: Any) -> list[nn.Module]:
    """What the longest list of modules of a transformers model holds."""
    lists = [each for each in module.base_model.modules() if isinstance(each, nn.ModuleList)]
    return [*max(lists, key=len)]
