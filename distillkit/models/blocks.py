"""Gated feed-forward blocks that keep less for their backward pass, and give the same numbers.

Of ``down(silu(gate) * up)`` autograd keeps gate, silu(gate), up and their product, the widest
tensors of a layer. Two of them are enough: the others are made again where they are wanted, in two
passes over memory beside three products. Without a backward pass everything is made in place.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from distillkit.models.library import Kind
from distillkit.models.linear import Linear, times_transposed, transposed_times

GATED = ("LlamaMLP", "MistralMLP", "Qwen2MLP", "Qwen3MLP")
"""Classes of transformers that compute ``down(act(gate) * up)``, and nothing more."""
SILU = ("SiLU", "SiLUActivation")
"""Classes of their activation, torch's and transformers' own."""


class Gated(nn.Module):  # type: ignore[misc]
    """Stands before such a class, and computes what it does."""

    def forward(self, states: Tensor) -> Tensor:
        down: Any = self.down_proj
        gate, up = self.gate_proj(states), self.up_proj(states)
        if not torch.is_grad_enabled():
            return down(functional.silu(gate, inplace=True).mul_(up))
        if type(down) not in (nn.Linear, Linear) or down.bias is not None or _casts(gate):
            return down(_Product.apply(gate, up))
        return _Block.apply(gate, up, down.weight)


def keep_less(module: nn.Module) -> None:
    """Have the gated blocks of a model keep less; parameters stay as they are."""
    for part in module.modules():
        kind: Any = type(part)
        curve = type(getattr(part, "act_fn", None)).__name__
        if kind.__name__ in GATED and curve in SILU:
            part.__class__ = _before(kind)


@cache
def _before(kind: Any) -> Any:
    return kind if issubclass(kind, Gated) else type(kind.__name__, (Gated, kind), {})


def _casts(states: Tensor) -> bool:
    """Whether a linear layer takes its weights in another type."""
    return torch.is_autocast_enabled(states.device.type)


class _Product(torch.autograd.Function):  # type: ignore[misc]
    """silu(gate) * up."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return functional.silu(gate).mul_(up)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        of_up = functional.silu(gate).mul_(gradient)
        return torch.ops.aten.silu_backward(gradient * up, gate), of_up


class _Block(torch.autograd.Function):  # type: ignore[misc]
    """The same times the transpose of a weight."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up, weight)
        return times_transposed(functional.silu(gate).mul_(up), weight)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        gate, up, weight = ctx.saved_tensors
        curved, of_weight = functional.silu(gate), None
        if ctx.needs_input_grad[2]:
            product = (curved * up).flatten(0, -2)
            of_weight = transposed_times(gradient.flatten(0, -2), product)
        of_product = times_transposed(gradient, weight.T, kind=Kind.by_input)
        of_up = curved.mul_(of_product)
        return torch.ops.aten.silu_backward(of_product.mul_(up), gate), of_up, of_weight
