"""The decoding step of Llama-like models, written out: few operations, few copies.

A response is hundreds of tiny forward passes over the same weights, so it pays to fuse them first:
query, key and value are one product, gate and up another, rotations come from a table and the cache
is written in place. On a CPU the weights are also laid out for oneDNN. :func:`decodes` says whether
a model is one of these; the others are decoded by their own module.
"""

from collections.abc import Callable, Sequence
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
        self._embedding, self._turns = body.embed_tokens, body.rotary_emb
        self._norm = Norm(body.norm)
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
        halves = (each[0].chunk(2, dim=-1)[0] for each in self._turns(weight, positions))
        self._rotations, self._done = torch.complex(*map(_wide, halves)), 0
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
        return self._norm(state[:, -1])

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
        return self._norm(self._through(tokens, columns, place, allowed))

    def _through(
        self, tokens: Tensor, positions: Tensor, place: "Place", allowed: Tensor | None
    ) -> Tensor:
        if tokens.shape[1] == 1 and allowed is not None:
            allowed = torch.zeros(allowed.shape, device=allowed.device).masked_fill_(
                ~allowed, -torch.inf
            )
        # Not the module itself: of a sharded model, all of which is here now, it has hooks.
        state = self._embedding.forward(tokens)
        rotation = self._rotations[positions][:, :, None]
        for layer in self._layers:
            state = layer(state, place, rotation, allowed)
        return state

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows, each as often as it is named."""
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
        self._before = Norm(layer.input_layernorm)
        self._between = Norm(layer.post_attention_layernorm)
        self._norms = self._of_heads(attention)
        self._read = self._paired((attention.q_proj, attention.k_proj, attention.v_proj), dtype)
        self._write = packed((attention.o_proj,), dtype)
        self._widen = packed((mlp.gate_proj, mlp.up_proj), dtype)
        self._narrow = packed((mlp.down_proj,), dtype)
        self._activation = mlp.act_fn
        self._cache = attention.k_proj.weight.new_empty(0, dtype=dtype)

    def begin(self, rows: int, length: int) -> None:
        """An empty cache; what is masked is multiplied with 0, and must be a number."""
        self._cache = self._cache.new_zeros(2, rows, self._keys_heads, length, self._width)

    def __call__(
        self, state: Tensor, place: Place, rotation: Tensor, allowed: Tensor | None
    ) -> Tensor:
        state = state + self._write(self._attend(self._before(state), place, rotation, allowed))
        gate, up = self._widen(self._between(state)).chunk(2, dim=-1)
        return state + self._narrow(self._activation(gate) * up)

    def keep(self, rows: Tensor, length: int) -> None:
        """Move the rows that stay to the front, or copy rows where there are more of them now."""
        kept = self._cache[:, rows, :, :length]
        _, held, *shape = self._cache.shape
        if len(rows) > held:
            self._cache = self._cache.new_zeros(2, len(rows), *shape)
        self._cache = self._cache[:, : len(rows)]
        self._cache[:, :, :, :length] = kept

    def _paired(
        self, layers: Sequence[nn.Linear], dtype: torch.dtype
    ) -> Callable[[Tensor], Tensor]:
        """Query, key and value, of the first two the numbers that turn together side by side.

        transformers has them half a head apart. A product of a query and a key is the same sum.
        """
        order = torch.arange(sum(layer.out_features for layer in layers))
        turned = order[: -layers[-1].out_features].view(-1, 2, self._width // 2)
        turned.copy_(turned.mT.reshape(turned.shape))
        return packed(layers, dtype, order=order)

    def _of_heads(self, attention: Any) -> "Norm | None":
        """Of queries and keys in one, where they have any."""
        if getattr(attention, "q_norm", None) is None:
            return None
        both, counts = Norm(attention.q_norm), (self._query_heads, self._keys_heads)
        weights = (attention.q_norm.weight, attention.k_norm.weight)
        pairs = [weight.view(2, -1).mT.reshape(1, self._width) for weight in weights]
        both.weight = torch.cat([p.expand(n, -1) for p, n in zip(pairs, counts, strict=True)])
        return both

    def _attend(
        self, state: Tensor, place: Place, rotation: Tensor, allowed: Tensor | None
    ) -> Tensor:
        batch, width = state.shape[:2]
        heads = self._read(state).view(batch, width, -1, self._width)
        both = heads[:, :, : self._query_heads + self._keys_heads]
        turned = _wide(both) if self._norms is None else self._norms(_wide(both))
        torch.view_as_complex(turned.unflatten(-1, (-1, 2))).mul_(rotation)
        if turned is not both:
            both.copy_(turned)
        query, new = heads[:, :, : self._query_heads], heads[:, :, self._query_heads :]
        new = new.view(batch, width, 2, self._keys_heads, self._width)
        if isinstance(place.columns, slice):
            self._cache[:, :, :, place.columns] = new.permute(2, 0, 3, 1, 4)
        else:
            for cache, each in zip(self._cache, new.unbind(2), strict=True):
                cache[place.columns] = each
        keys, values = self._cache[:, :, :, : place.end]
        if width == 1:
            # The queries that share a key stand side by side as if they were positions.
            query = query.reshape(batch, self._keys_heads, -1, self._width)
            found = _attend_once(query, keys, values, allowed, scale=self._scale)
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


class Norm:
    """Root mean square layer norm, in fewer operations than torch's own takes on a CPU."""

    def __init__(self, norm: Any) -> None:
        self.weight: Tensor = norm.weight
        self._epsilon: float = norm.variance_epsilon
        self._least = norm.weight.new_full((), self._epsilon, dtype=torch.float32)

    def __call__(self, state: Tensor) -> Tensor:
        """Over the last dimension; a tensor of its own."""
        width = state.shape[-1]
        if state.dtype != torch.float32:
            return functional.rms_norm(state, (width,), eps=self._epsilon) * self.weight
        length = torch.linalg.vector_norm(state, dim=-1, keepdim=True)
        mean = torch.addcmul(self._least, length, length, value=1 / width)
        return (state * mean.rsqrt_()).mul_(self.weight)


def _attend_once(
    query: Tensor, keys: Tensor, values: Tensor, added: Tensor | None, *, scale: float
) -> Tensor:
    """Attention of a few queries [B, H, G, W] to the keys and values [B, H, L, W] of one text.

    On a CPU in half the time of torch's own kernel, which is made for many.

    Args:
        query: those that share a key side by side.
        keys: of each head.
        values: likewise.
        added: to the scores [B, 1, 1, L], minus infinity where nothing is seen; None where all is.
        scale: of the scores.
    """
    if query.device.type != "cpu" or query.dtype != torch.float32:
        added = None if added is None else added.to(query.dtype)
        return functional.scaled_dot_product_attention(
            query, keys, values, attn_mask=added, scale=scale
        )
    scores = torch.bmm(query.flatten(0, 1), keys.flatten(0, 1).mT).view(*query.shape[:3], -1)
    scores.mul_(scale)
    if added is not None:
        scores += added
    odds = scores.softmax(-1).flatten(0, 1)
    return torch.bmm(odds, values.flatten(0, 1)).view(query.shape)


def _wide(tensor: Tensor) -> Tensor:
    """In at least fp32."""
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()
