"""Embeddings that add their gradient to the one that the head has begun.

Where both share weights, these have a gradient already when the backward pass gets to the
embedding. A second tensor of their size, most of it zeros, would take longer than the loss of a few
rows of text.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from distillkit.models.linear import PLAIN


class Embedding(nn.Embedding):  # type: ignore[misc]
    """Adds its gradient to what its weights have, in place; the same numbers as torch's own."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name that torch gives it)
        weight = self.weight
        learns = torch.is_grad_enabled() and weight.requires_grad
        if not (learns and type(weight) in PLAIN and weight.device.type == "cpu"):
            return functional.embedding(input, weight, self.padding_idx)
        found: Tensor = _Look.apply(input, weight, self.padding_idx)
        return found


def add_in_place(module: nn.Module) -> None:
    """Turn the plain embeddings of a model into :class:`Embedding`; parameters stay as they are."""
    for layer in module.modules():
        if type(layer) is nn.Embedding and _is_plain(layer):
            layer.__class__ = Embedding


def _is_plain(layer: nn.Embedding) -> bool:
    return layer.max_norm is None and not layer.scale_grad_by_freq and not layer.sparse


class _Look(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, ids: Tensor, weight: Tensor, padding: int | None) -> Tensor:
        ctx.save_for_backward(ids)
        # What is wanted of the weights later is their gradient, not their values.
        ctx.weight, ctx.padding = weight, padding
        return functional.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (ids,) = gradients, ctx.saved_tensors
        held = ctx.weight.grad
        seen, places = ids.unique(return_inverse=True)
        total = torch.ops.aten.embedding_dense_backward(gradient, places, len(seen), -1, False)
        if ctx.padding is not None:
            total[seen == ctx.padding] = 0
        if held is None:
            return None, gradient.new_zeros(ctx.weight.shape).index_copy_(0, seen, total), None
        held.index_add_(0, seen, total.to(held.dtype))
        return None, None, None
