"""Rows of different lengths go through a model end to end, and attention keeps them apart.

What flash attention does on CUDA, on a CPU: no product is made of padding, and a batch needs no
splitting by length. Each row's attention is torch's own kernel, on a view of what is read.

A prompt of several responses is read once, with the first of them. The others follow as branches,
whose positions go on where the prompt ends: a branch looks at itself, and at so much of that row.
"""

from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from distillkit.models.decoder import looks_back_everywhere

NAME = "distillkit_end_to_end"
"""As transformers knows this implementation of attention."""


def fits(module: Any) -> bool:
    """Whether attention may be of this kind: plain, causal, on a CPU."""
    plain = module.config._attn_implementation == "sdpa" and module.device.type == "cpu"
    return plain and looks_back_everywhere(module)


def shares(module: Any, *, drops: bool) -> bool:
    """Whether rows may branch; not where each learns with what it draws."""
    return module.config._attn_implementation == NAME and not (drops and module.training)


@dataclass(frozen=True, slots=True)
class Branches:
    """Branches side by side, which look at the first tokens of a row."""

    own: slice
    row: slice


@cache
def register() -> None:
    """Let transformers know this implementation."""
    # Slow to load, and modules that import this one are loaded where no model is.
    from transformers import AttentionInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    def attend(
        module: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        **how: Any,
    ) -> tuple[Tensor, None]:
        """query [B, H, T, W] to [B, T, H, W]."""
        positions = how.get("position_ids")
        if attention_mask is None and positions is not None and len(query) == len(positions) == 1:
            lengths, branches = _pieces(positions[0])
            if len(lengths) > 1:
                heads = query, key, value
                if how.get("dropout"):
                    return _dropping(*heads, lengths, how["scaling"], how["dropout"]), None
                found = _Rows.apply(*heads, lengths, branches, how["scaling"])
                return found.transpose(1, 2), None
        result: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **how
        )
        return result

    def mask(*of: Any, **how: Any) -> Tensor | None:
        """None for rows end to end, which are why a causal mask alone would not do."""
        if how.get("attention_mask") is None and how.get("allow_is_causal_skip") is False:
            return None
        return sdpa_mask(*of, **how)

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, mask)


def _pieces(positions: Tensor) -> tuple[list[int], list[Branches]]:
    """Lengths of rows and branches, which begin where positions [T] do not go on; the branches."""
    starts = (positions.diff(prepend=positions[:1]) != 1).nonzero()[:, 0].tolist()
    lengths = [end - start for start, end in pairwise([*starts, len(positions)])]
    branches: list[Branches] = []
    row = 0
    for start, length, begin in zip(starts, lengths, positions[starts].tolist(), strict=True):
        if begin == 0:
            row = start
            continue
        beside, own = slice(row, row + begin), slice(start, start + length)
        if branches and branches[-1].row == beside:
            own = slice(branches.pop().own.start, own.stop)
        branches.append(Branches(own, beside))
    return lengths, branches


def _dropping(
    query: Tensor, key: Tensor, value: Tensor, lengths: list[int], scale: float, rate: float
) -> Tensor:
    """Row by row as torch does it."""
    attend = partial(
        functional.scaled_dot_product_attention,
        dropout_p=rate,
        is_causal=True,
        scale=scale,
        enable_gqa=True,
    )
    found = [attend(*each) for each in _split(lengths, query, key, value)]
    return torch.cat(found, dim=2).transpose(1, 2)


class _Rows(torch.autograd.Function):  # type: ignore[misc]
    """Causal attention of each row by itself, put into one tensor without copies of it.

    What a branch makes of itself and of the row that it follows is merged by the two sums of
    exponentials; the gradient of either is the kernel's, given what came out of both.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        lengths: list[int],
        branches: list[Branches],
        scale: float,
    ) -> Tensor:
        attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        out, found = _like(query), []
        for place, *each in _split(lengths, out, query, key, value):
            own, sums = attend(*each, 0.0, True, scale=scale)
            place.copy_(own)
            found.append(sums)
        sums = torch.cat(found, dim=2)
        for at in branches:
            heads = query[:, :, at.own], key[:, :, at.row], value[:, :, at.row]
            _merge((out[:, :, at.own], sums[:, :, at.own]), attend(*heads, 0.0, False, scale=scale))
        ctx.save_for_backward(query, key, value, out, sums)
        ctx.lengths, ctx.branches, ctx.scale = lengths, branches, scale
        return out

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
        query, key, value, out, sums = ctx.saved_tensors
        slopes = [_like(each) for each in (query, key, value)]
        for *places, slope, q, k, v, o, total in _split(
            ctx.lengths, *slopes, gradient, query, key, value, out, sums
        ):
            found = attend(slope, q, k, v, o, total, 0.0, True, scale=ctx.scale)
            for place, each in zip(places, found, strict=True):
                place.copy_(each)
        for at in ctx.branches:
            slope, q, o, total = (each[:, :, at.own] for each in (gradient, query, out, sums))
            k, v = key[:, :, at.row], value[:, :, at.row]
            found = attend(slope, q, k, v, o, total, 0.0, False, scale=ctx.scale)
            for slope, place, each in zip(slopes, (at.own, at.row, at.row), found, strict=True):
                slope[:, :, place] += each
        return (*slopes, None, None, None)


def _merge(own: tuple[Tensor, Tensor], beside: tuple[Tensor, Tensor]) -> None:
    """Attention [1, H, T, W] and its sums [1, H, T] over some keys, in place over others too."""
    (out, near), (found, far) = own, beside
    total = torch.logaddexp(near, far)
    out.mul_((near - total).exp()[..., None]).add_(found * (far - total).exp()[..., None])
    near.copy_(total)


def _split(lengths: list[int], *tensors: Tensor) -> Any:
    """Row by row, views of tensors [1, H, N, W]."""
    return zip(*(each.split(lengths, dim=2) for each in tensors), strict=True)


def _like(heads: Tensor) -> Tensor:
    """Memory for as many heads [1, H, N, W], those of a token side by side."""
    _, count, tokens, width = heads.shape
    return heads.new_empty(1, tokens, count, width).transpose(1, 2)
