"""The decoding step of any causal language model: its own forward pass and transformers' cache."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from transformers import DynamicCache, PreTrainedConfig


class ModuleDecoder:
    """What :class:`distillkit.models.decoder.Decoder` is for Llama-like models, for all others.

    Args:
        body: the transformer below the head, called with transformers' arguments.
        config: its configuration.
    """

    def __init__(self, body: Callable[..., Any], config: PreTrainedConfig) -> None:
        self._body, self._cache = body, DynamicCache(config=config)

    def __call__(self, tokens: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        """Read tokens [B, T] and return the last hidden state of each row [B, D]."""
        output = self._body(
            input_ids=tokens,
            attention_mask=None if mask is None else mask.long(),
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
        )
        return output.last_hidden_state[:, -1]

    def keep(self, rows: Tensor) -> None:
        """Drop all other rows from the cache."""
        self._cache.batch_select_indices(rows)
