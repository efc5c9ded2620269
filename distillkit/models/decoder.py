"""The decoding step of Llama-like models, written out: few operations, few copies.

A response is hundreds of tiny forward passes over the same weights, so it pays to fuse them first:
query, key and value are one product, gate and up another, rotations come from a table and the cache
is written in place. On a CPU the weights are also laid out for oneDNN. :func:`decodes` says whether
a model is one of these; the others are decoded by their own module.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from distillkit.distributed.holding import own_class
from distillkit.models.linear import Linear, packed

FAMILIES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
"""Classes whose layers are what :class:`Layer` computes, and nothing more."""

ROTATIONS = ("default", "linear", "llama3")
"""Kinds of rotary embedding that do not change with the length of the text."""


def decodes(module: Any) -> bool:
    """Whether :class:`Decoder` computes what this transformers model does."""
    return looks_back_everywhere(module) and all(map(_is_plain, module.base_model.layers))


def looks_back_everywhere(module: Any) -> bool:
    """Whether it is of one of the families, and every layer attends to all that went before."""
    config = module.config.get_text_config()
    kinds = getattr(config, "layer_types", None) or ()
    slides = getattr(config, "use_sliding_window", True) and getattr(config, "sliding_window", None)
    rotation = getattr(config, "rope_parameters", None) or {}
    return (
        own_class(module).__name__ in FAMILIES
        and all(kind == "full_attention" for kind in kinds)
        and not (slides and not kinds)
        and rotation.get("rope_type", "default") in ROTATIONS
    )


def _is_plain(layer: Any) -> bool:
    """Whether no projection of a layer carries an adapter or is quantised."""
    linear = [item for item in layer.modules() if isinstance(item, nn.Linear)]
    return len(linear) == 7 and all(type(item) in (nn.Linear, Linear) for item in linear)


class Decoder:
    """Hidden states for next tokens, and the cache behind them, for one batch of responses.

    Args:
        module: a model that :func:`decodes` accepts, in inference mode.
        rows: texts side by side.
        length: most tokens of prompt and response together.
        dtype: of products and cache.
    """

    def __init__(self, module: Any, *, rows: int, length: int, dtype: torch.dtype) -> None:
        body = module.base_model
        self._embedding, self._norm, self._turns = body.embed_tokens, body.norm, body.rotary_emb
        self._layers = [Layer(layer, dtype) for layer in body.layers]
        self._begin(rows, length)

    def again(self, *, rows: int, length: int) -> Self:
        """One for another batch, with the weights as they were laid out for this one."""
        other = copy(self)
        other._layers = [copy(layer) for layer in self._layers]
        other._begin(rows, length)
        return other

    def _begin(self, rows: int, length: int) -> None:
        weight = self._embedding.weight
        positions = torch.arange(length, device=weight.device)[None]
        cos, sin = self._turns(weight, positions)
        half = sin.shape[-1] // 2
        # x cos + roll(x) sin, the sign of rotate_half moved into the table.
        self._cos, self._sin = cos[0], torch.cat([-sin[0, :, :half], sin[0, :, half:]], dim=-1)
        self._done = 0
        for layer in self._layers:
            layer.begin(rows, length)

    def __call__(self, tokens: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        """Read tokens [B, T] and return the last hidden state of each row [B, D].

        Args:
            tokens: ids; the prompts first, then one token a row.
            positions: of each token in its row's own text [B, T].
            mask: true where a token read so far is real [B, L], or None where all are.
        """
        allowed = None if mask is None else self._allowed(mask, tokens.shape[1])
        end = self._done + tokens.shape[1]
        state = self._through(tokens, positions, Place(slice(self._done, end), end), allowed)
        self._done = end
        return self._norm.forward(state[:, -1])

    def read(self, tokens: Tensor, start: Tensor) -> Tensor:
        """See :class:`distillkit.models.rereading.Page`."""
        width, first, last = tokens.shape[1], int(start.min()), int(start.max())
        columns = start[:, None] + torch.arange(width, device=start.device)
        end = last + width
        place = Place(slice(first, end), end)
        if first != last:
            rows = torch.arange(len(start), device=start.device)[:, None]
            place = Place((rows, slice(None), columns), end)
        allowed = None
        if first != last or (width > 1 and first > 0):
            seen = torch.arange(end, device=start.device)
            allowed = (seen <= columns[:, :, None])[:, None]
        self._done = max(self._done, end)
        return self._norm.forward(self._through(tokens, columns, place, allowed))

    def _through(
        self, tokens: Tensor, positions: Tensor, place: "Place", allowed: Tensor | None
    ) -> Tensor:
        # Not the module itself: of a sharded model, all of which is here now, it has hooks.
        state = self._embedding.forward(tokens)
        rotation = self._cos[positions][:, :, None], self._sin[positions][:, :, None]
        for layer in self._layers:
            state = layer(state, place, rotation, allowed)
        return state

    def keep(self, rows: Tensor) -> None:
        """Drop all other rows from the cache."""
        for layer in self._layers:
            layer.keep(rows, self._done)

    def _allowed(self, mask: Tensor, width: int) -> Tensor:
        """Positions [B, 1, T, L] that each token may see; padding sees itself, so none is empty."""
        if width == 1:
            return mask[:, None, None]
        causal = torch.ones(width, width, dtype=torch.bool, device=mask.device).tril()
        itself = torch.eye(width, dtype=torch.bool, device=mask.device)
        return (causal & mask[:, None] | itself)[:, None]


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a layer's cache tokens are put.

    Attributes:
        columns: the same for all rows, or an index [B, T] of rows and columns.
        end: columns from here on hold nothing yet.
    """

    columns: Any
    end: int


class Layer:
    """One decoder layer with its part of the cache."""

    def __init__(self, layer: Any, dtype: torch.dtype) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._width: int = attention.head_dim
        self._keys_heads: int = attention.k_proj.out_features // self._width
        self._query_heads: int = attention.q_proj.out_features // self._width
        self._scale: float = attention.scaling
        self._before, self._between = layer.input_layernorm, layer.post_attention_layernorm
        self._query_norm = getattr(attention, "q_norm", None)
        self._key_norm = getattr(attention, "k_norm", None)
        self._read = packed((attention.q_proj, attention.k_proj, attention.v_proj), dtype)
        self._write = packed((attention.o_proj,), dtype)
        self._widen = packed((mlp.gate_proj, mlp.up_proj), dtype)
        self._narrow = packed((mlp.down_proj,), dtype)
        self._activation = mlp.act_fn
        self._cache = attention.k_proj.weight.new_empty(0, dtype=dtype)

    def begin(self, rows: int, length: int) -> None:
        """An empty cache; what is masked is multiplied with 0, and must be a number."""
        self._cache = self._cache.new_zeros(2, rows, self._keys_heads, length, self._width)

    def __call__(
        self, state: Tensor, place: Place, rotation: Sequence[Tensor], allowed: Tensor | None
    ) -> Tensor:
        state = state + self._write(
            self._attend(_rms(self._before, state), place, rotation, allowed)
        )
        gate, up = self._widen(_rms(self._between, state)).chunk(2, dim=-1)
        return state + self._narrow(self._activation(gate) * up)

    def keep(self, rows: Tensor, length: int) -> None:
        """Move the rows that stay to the front."""
        kept = self._cache[:, rows, :, :length]
        self._cache = self._cache[:, : len(rows)]
        self._cache[:, :, :, :length] = kept

    def _attend(
        self, state: Tensor, place: Place, rotation: Sequence[Tensor], allowed: Tensor | None
    ) -> Tensor:
        batch, width = state.shape[:2]
        heads = self._read(state).view(batch, width, -1, self._width)
        turned = self._query_heads + self._keys_heads
        both, value = heads[:, :, :turned], heads[:, :, turned:]
        if self._query_norm is not None and self._key_norm is not None:
            query, key = both[:, :, : self._query_heads], both[:, :, self._query_heads :]
            both = torch.cat([self._query_norm(query), self._key_norm(key)], dim=2)
        cos, sin = rotation
        both = both * cos + both.roll(self._width // 2, dims=-1) * sin
        both = both.to(self._cache.dtype)
        query, key = both[:, :, : self._query_heads], both[:, :, self._query_heads :]
        for cache, new in zip(self._cache, (key, value), strict=True):
            if isinstance(place.columns, slice):
                cache[:, :, place.columns] = new.transpose(1, 2)
            else:
                cache[place.columns] = new
        keys, values = self._cache[:, :, :, : place.end]
        if width == 1:
            # The queries that share a key stand side by side as if they were positions.
            query = query.reshape(batch, self._keys_heads, -1, self._width)
            found = functional.scaled_dot_product_attention(
                query, keys, values, attn_mask=allowed, scale=self._scale
            )
        else:
            found = functional.scaled_dot_product_attention(
                query.transpose(1, 2),
                keys,
                values,
                attn_mask=allowed,
                is_causal=allowed is None,
                scale=self._scale,
                enable_gqa=True,
            ).transpose(1, 2)
        return found.reshape(batch, width, -1)


def _rms(norm: Any, state: Tensor) -> Tensor:
    return functional.rms_norm(state, state.shape[-1:], norm.weight, norm.variance_epsilon)
