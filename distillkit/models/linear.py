"""Linear layers on a CPU through the faster library.

In fp32 ``torch.nn.functional.linear`` goes to the BLAS that torch was built with; where
:mod:`distillkit.models.library` finds oneDNN faster, products go there. In bf16 it is oneDNN's, but
lays the weights out anew at every call. Elsewhere, and for every other type, this is
``functional.linear``.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from distillkit.models.library import FEW, HERE, Kind, onednn

KEPT = [
    name
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
    if name not in os.environ
]
"""How many products oneDNN, and what torch puts around it, keep ready: 1,024 unless they are told.

A product takes about as much as its weights twice, and text has new ones at every step. Both look
once, at their first product.
"""
os.environ |= dict.fromkeys(KEPT, "512")

LARGE = 20_000_000
"""Parameters from which making a product anew takes no time beside the product."""


def keep_fewer_products(parameters: int) -> None:
    """Keep as many as a large model has room for, where nothing else was asked for."""
    if parameters > LARGE:
        os.environ |= dict.fromkeys(KEPT, "128")


TRAINING = (Kind.forward, Kind.by_input, Kind.by_weight)
"""Products of a layer that learns."""

_NARROW = (
    HERE
    and hasattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported")
    and torch.ops.mkldnn._is_mkldnn_bf16_supported()
)
"""Whether this processor multiplies bf16."""


PLAIN = {Tensor, nn.Parameter}
"""Not what stands for tensors, such as the fake ones of an estimate."""


def times_transposed(
    left: Tensor, right: Tensor, bias: Tensor | None = None, *, kind: Kind = Kind.forward
) -> Tensor:
    """left [..., D] times the transpose of right [V, D], plus bias [V]: [..., V], no gradient."""
    if not (suits(left, right) and onednn(kind, left.numel() * len(right))):
        return functional.linear(left, right, bias)
    return torch.ops.mkldnn._linear_pointwise(left, right, bias, "none", [], "")


def transposed_times(left: Tensor, right: Tensor) -> Tensor:
    """The transpose of left [n, V] times right [n, D]: [V, D], no gradient.

    oneDNN takes one factor as it is and the other one laid out anew, which is done to the smaller.
    A piece of wider rows is taken out of them first: oneDNN is a thousand times slower with its
    transpose, and torch transposes what is whole in half the time.
    """
    left, right = left.contiguous(), right.contiguous()
    (rows, height), width = left.shape, right.shape[1]
    if not (suits(left, right) and onednn(Kind.by_weight, rows * height * width)):
        return left.T @ right
    if rows * height <= (rows + height) * width:
        return times_transposed(left.T.contiguous(), right.T, kind=Kind.by_weight)
    return times_transposed(right.T.contiguous(), left.T, kind=Kind.by_weight).T.contiguous()


def suits(left: Tensor, right: Tensor) -> bool:
    """Whether oneDNN can multiply the two as they are."""
    return (
        HERE
        and {type(left), type(right)} <= PLAIN
        and left.dtype == right.dtype == torch.float32
        and left.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
    )


class Linear(nn.Linear):  # type: ignore[misc]
    """A linear layer whose products are the faster library's."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name that torch gives it)
        if not suits(input, self.weight):
            return functional.linear(input, self.weight, self.bias)
        if not torch.is_grad_enabled():
            return times_transposed(input, self.weight, self.bias)
        size = input.numel() * len(self.weight)
        if not any(onednn(kind, size) for kind in TRAINING):
            return functional.linear(input, self.weight, self.bias)
        return _Product.apply(input, self.weight, self.bias)


def quicken(module: nn.Module) -> None:
    """Turn the plain linear layers of a model into :class:`Linear`; parameters stay as they are."""
    for layer in module.modules():
        if type(layer) is nn.Linear:
            layer.__class__ = Linear


def lay_for_reading(module: Any) -> None:
    """Transpose in memory the weights of layers that learn nothing, so that no product need do it.

    Values and shapes stay. What else is read by its rows, as an embedding tied to the head, stays
    too. Under oneDNN products of a width that is no power of two take up to a third less.
    """
    rows = {id(module.get_input_embeddings().weight), id(module.get_output_embeddings().weight)}
    for layer in module.modules():
        if type(layer) is not Linear or id(weight := layer.weight) in rows:
            continue
        if suits(weight, weight):
            weight.data = weight.data.T.contiguous().T


def packed(
    layers: Sequence[nn.Linear], dtype: torch.dtype, *, order: Tensor | None = None
) -> Callable[[Tensor], Tensor]:
    """Layers over one input as a single product whose outputs follow one another.

    Args:
        layers: all with a bias, or none.
        dtype: of the product.
        order: of the outputs, where it is another one.
    """
    place = slice(None) if order is None else order.to(layers[0].weight.device)
    bias = None if layers[0].bias is None else torch.cat([layer.bias for layer in layers])[place]
    return laid_out(torch.cat([layer.weight for layer in layers])[place], bias, dtype)


def laid_out(weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """A linear layer for many calls with the weights as they are now, in the order oneDNN likes."""
    weight, bias = weight.detach().to(dtype), None if bias is None else bias.detach().to(dtype)
    narrow = _NARROW and dtype == torch.bfloat16 and weight.device.type == "cpu"
    quick = suits(weight, weight) and onednn(Kind.step, FEW * weight.numel())
    if not (narrow or quick):
        return lambda state: functional.linear(state.to(dtype), weight, bias)
    ordered = torch.ops.mkldnn._reorder_linear_weight(weight, None)
    product = torch.ops.mkldnn._linear_pointwise
    return lambda state: product(state.to(dtype), ordered, bias, "none", [], "")


class _Product(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, left: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(left, weight)
        return times_transposed(left, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        left, weight = ctx.saved_tensors
        of_left = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_left = times_transposed(gradient, weight.T, kind=Kind.by_input)
        flat = gradient.flatten(0, -2)
        if ctx.needs_input_grad[1]:
            of_weight = transposed_times(flat, left.flatten(0, -2))
        if ctx.needs_input_grad[2]:
            of_bias = flat.sum(0)
        return of_left, of_weight, of_bias
