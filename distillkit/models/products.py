"""The head's three matrix products, always with an fp32 result.

Narrow operands (bf16) are multiplied exactly and added up in fp32. A product that is rounded to
bf16 and widened afterwards costs several per cent of the gradient (Liger-Kernel issue 1432).
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from distillkit.models.library import Kind
from distillkit.models.linear import times_transposed, transposed_times

TILE = 5_000_000
"""Numbers of a weight that the CPU multiplies at a time: 20 megabytes of fp32, which are used again
for the next ones, where larger memory would be asked of the system anew."""


def project(
    hidden: Float[Tensor, "n D"], weight: Float[Tensor, "V D"], *, into: Tensor | None = None
) -> Float[Tensor, "n V"]:
    """hidden [n, D] times the transpose of weight [V, D]: [n, V].

    Args:
        hidden: any type; taken in that of the weight.
        weight: fp32, fp64 or narrow.
        into: at least n rows [., V] of memory that the result may take instead of new pages.
    """
    narrow = hidden.to(weight.dtype)
    result = None if into is None else into[: len(hidden)]
    if weight.is_cuda:
        if _is_wide(weight):
            return torch.mm(narrow, weight.T, out=result)
        return torch.mm(narrow, weight.T, out_dtype=torch.float32, out=result)
    if result is None:
        result = weight.new_empty(len(hidden), len(weight), dtype=wide_type(weight))
    left = narrow.to(result.dtype)
    for part in tiles(weight):
        result[:, part] = times_transposed(left, weight[part].to(result.dtype))
    return result


def pull_back(gradient: Float[Tensor, "n V"], weight: Float[Tensor, "V D"]) -> Float[Tensor, "n D"]:
    """gradient [n, V] times weight [V, D]: the gradient of the hidden states [n, D]."""
    narrow = gradient.to(weight.dtype)
    if weight.is_cuda:
        if _is_wide(weight):
            return torch.mm(narrow, weight)
        return torch.mm(narrow, weight, out_dtype=torch.float32)
    wide = wide_type(weight)
    parts = (
        times_transposed(narrow[:, part].to(wide), weight[part].to(wide).T, kind=Kind.by_input)
        for part in tiles(weight)
    )
    result: Tensor = next(parts)
    for each in parts:
        result += each
    return result


def add_outer(
    total: Float[Tensor, "V D"],
    gradient: Float[Tensor, "n V"],
    hidden: Float[Tensor, "n D"],
    dtype: torch.dtype,
) -> None:
    """Add the transpose of gradient [n, V] times hidden [n, D] to total [V, D], in place.

    Args:
        total: fp32 or fp64.
        gradient: fp32 or fp64.
        hidden: any type.
        dtype: type of the operands, that of the weight.
    """
    left, right = gradient.to(dtype), hidden.to(dtype)
    if not total.is_cuda:
        right = right.to(total.dtype)
        for part in tiles(total):
            total[part] += transposed_times(left[:, part].to(total.dtype), right)
    elif dtype == total.dtype:
        total.addmm_(left.T, right)
    else:
        torch.addmm(total, left.T, right, out_dtype=torch.float32, out=total)


def wide_type(weight: Tensor) -> torch.dtype:
    """The type of a product with this weight: fp32, or fp64 for fp64."""
    return torch.promote_types(weight.dtype, torch.float32)


def _is_wide(weight: Tensor) -> bool:
    return weight.dtype == wide_type(weight)


def tiles(weight: Tensor) -> Iterator[slice]:
    """Rows of a weight [V, D] that are multiplied at a time on a CPU."""
    rows = max(1, TILE // weight.shape[1])
    for start in range(0, len(weight), rows):
        yield slice(start, min(start + rows, len(weight)))
