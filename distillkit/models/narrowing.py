"""The last layer's feed-forward block works at the positions that are read, and nowhere else.

What a layer makes of a prompt is what the layers above it attend to. Above the last one is the head
alone, which reads responses. :func:`distillkit.models.reading.narrow` tries for which models that
is so.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from torch import Tensor, nn

from distillkit.models.layers import drops, layers_of

WORTH = 0.75
"""Part of all positions from which on the copies cost as much as they save."""


def last_block(module: Any) -> nn.Module | None:
    """The block of a transformers model; None where it has none of this name, or recomputes it."""
    if any(getattr(part, "gradient_checkpointing", False) for part in module.modules()):
        return None
    return getattr(layers_of(module)[-1], "mlp", None)


def where_read(
    block: nn.Module | None, places: Tensor, *, among: int
) -> AbstractContextManager[None]:
    """Inside, the block works at some of so many positions alone, where that pays.

    One that drops something draws for all positions, so that what it drops does not depend on it.
    """
    if block is None or drops(block):
        return nullcontext()
    # Rows that share a prompt share the place that predicts their first tokens.
    places = places.unique()
    return nullcontext() if len(places) > WORTH * among else only_at(block, places)


@contextmanager
def only_at(block: nn.Module, places: Tensor) -> Iterator[None]:
    """Inside, a block over states [B, T, D] works at some of its B x T positions.

    Args:
        block: takes states, works on each alone, and gives as many.
        places: the positions [N]; the others are given zeros.
    """
    shapes = []

    def gather(_: nn.Module, given: tuple[Tensor, ...]) -> Tensor:
        (states,) = given
        shapes.append(states.shape)
        return states.flatten(0, 1).index_select(0, places)[None]

    def scatter(_: nn.Module, __: tuple[Tensor, ...], found: Tensor) -> Tensor:
        shape = shapes.pop()
        every = found.new_zeros(shape.numel() // shape[-1], shape[-1])
        return every.index_copy(0, places, found[0]).view(shape)

    hooks = [block.register_forward_pre_hook(gather), block.register_forward_hook(scatter)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
