"""The output head: hidden states to logits over the real vocabulary, in fp32, and back."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from distillkit.models.linear import laid_out, suits
from distillkit.models.products import add_outer, project, pull_back, tiles, wide_type


@dataclass(frozen=True, slots=True)
class Head:
    """A projection with what some families add to it."""

    weight: Tensor
    """[rows, D]; rows beyond ``vocabulary`` are padding and are cut, never scored."""
    bias: Tensor | None
    """[rows] or None."""
    vocabulary: int
    """One more than the largest real id."""
    scale: float = 1.0
    """Multiplies the logits (Cohere ``logit_scale``, Granite ``1 / logits_scaling``)."""
    softcap: float | None = None
    """``softcap * tanh(logits / softcap)`` where not None (Gemma)."""
    narrow: bool = False
    """Multiply bf16 operands although the weights are fp32 (``precision=bf16``). Results are fp32
    either way."""
    holes: Tensor | None = None
    """Ids below ``vocabulary`` that are not real [H], whose logits are -inf; None where there is
    none."""

    @property
    def real(self) -> int:
        """How many ids are given a probability."""
        return self.vocabulary - (0 if self.holes is None else len(self.holes))

    def prepared(self) -> Self:
        """The same head, cut and cast once for many products; gradients do not reach it."""
        weight = self.weight.detach()[: self.vocabulary]
        bias = None if self.bias is None else self.bias.detach()[: self.vocabulary].float()
        return replace(self, weight=weight.bfloat16() if self.narrow else weight, bias=bias)

    def buffer(self, rows: int) -> Tensor:
        """Memory for the logits of so many positions, to be used again and again."""
        dtype = torch.promote_types(self.weight.dtype, torch.float32)
        return self.weight.new_empty(rows, self.vocabulary, dtype=dtype)

    def logits(self, hidden: Tensor, *, into: Tensor | None = None) -> Tensor:
        """Logits [N, V], fp32 (fp64 for fp64 weights), from hidden states [N, D].

        They may be written into the first rows of ``into`` instead of memory of their own.
        """
        return self._finish(project(hidden, self.weight[: self.vocabulary], into=into))

    def scorer(self) -> Callable[[Tensor], Tensor]:
        """:meth:`logits` for many small batches with the weights as they are now."""
        ready = self.prepared()
        narrow = ready.weight.dtype
        # Narrow operands are multiplied exactly and added up in fp32: see ``project``.
        wide = ready.weight if ready.weight.is_cuda else ready.weight.to(wide_type(ready.weight))
        if not suits(wide, wide):
            return ready.logits
        products = [laid_out(wide[part], None, wide.dtype) for part in tiles(wide)]

        def logits(hidden: Tensor) -> Tensor:
            state = hidden.to(narrow).to(wide.dtype)
            return ready._finish(torch.cat([product(state) for product in products], dim=-1))

        return logits

    def _finish(self, logits: Tensor) -> Tensor:
        if self.bias is not None:
            logits += self.bias[: self.vocabulary]
        if self.scale != 1.0:
            logits *= self.scale
        if self.softcap is not None:
            logits = logits.div_(self.softcap).tanh_().mul_(self.softcap)
        return self.masked(logits)

    def masked(self, logits: Tensor) -> Tensor:
        """Logits [N, V] that rule out what is not real; in place."""
        return logits if self.holes is None else logits.index_fill_(-1, self.holes, -torch.inf)

    def gradient_of_hidden(self, gradient: Tensor) -> Tensor:
        """Gradient of the hidden states [N, D] from that of the bare product [N, V]."""
        return pull_back(gradient, self.weight[: self.vocabulary])

    def gradient_of_product(self, gradient: Tensor, logits: Tensor) -> Tensor:
        """Gradient of the bare product from that of the logits, both [N, V]; overwrites both."""
        if self.softcap is not None:
            if self.holes is not None:
                logits.clamp_min_(-self.softcap)  # 0 * inf would be no number
            gradient *= logits.div_(self.softcap).square_().neg_().add_(1)
        return gradient if self.scale == 1.0 else gradient.mul_(self.scale)


class HeadGradient:
    """Adds up the gradient of a head's parameters in fp32 over chunks of positions.

    fp32 parameters take it directly in ``.grad``; that of narrow ones is rounded once, at the end.
    """

    def __init__(self, head: Head) -> None:
        self._head = head
        self._operand = torch.bfloat16 if head.narrow else head.weight.dtype
        self._weight = _total(head.weight)
        self._bias = None if head.bias is None else _total(head.bias)

    def add(self, gradient: Tensor, hidden: Tensor) -> None:
        """Count the gradient of a bare product [n, V] of hidden states [n, D]."""
        real = slice(self._head.vocabulary)
        if self._weight is not None:
            add_outer(self._weight[real], gradient, hidden, self._operand)
        if self._bias is not None:
            self._bias[real] += gradient.sum(0)

    def close(self) -> None:
        """Hand the sums to parameters that do not hold them already."""
        for parameter, total in ((self._head.weight, self._weight), (self._head.bias, self._bias)):
            if parameter is None or total is None or parameter.grad is total:
                continue
            rounded = total.to(parameter.dtype)
            parameter.grad = rounded if parameter.grad is None else parameter.grad + rounded


def _total(parameter: Tensor) -> Tensor | None:
    if not parameter.requires_grad:
        return None
    if parameter.dtype not in (torch.float32, torch.float64):
        return torch.zeros_like(parameter, dtype=torch.float32)
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
