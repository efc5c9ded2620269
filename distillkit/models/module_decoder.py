"""The decoding step of any causal language model: its own forward pass and transformers' cache."""

from collections.abc import Callable, Collection
from typing import Any

from torch import Tensor

USUAL = frozenset({"input_ids", "attention_mask", "position_ids", "past_key_values", "use_cache"})
"""Arguments of most forward passes."""


class ModuleDecoder:
    """What :class:`distillkit.models.decoder.Decoder` is for Llama-like models, for all others.

    Args:
        body: the transformer below the head, called with transformers' arguments.
        config: its configuration.
        known: the arguments that it has.
    """

    def __init__(
        self, body: Callable[..., Any], config: Any, known: Collection[str] = USUAL
    ) -> None:
        from transformers import DynamicCache  # slow to load, and one may never be built

        self._body, self._cache, self._known = body, DynamicCache(config=config), known

    def __call__(self, tokens: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        """Read tokens [B, T] and return the last hidden state of each row [B, D]."""
        inputs = {
            "input_ids": tokens,
            "attention_mask": None if mask is None else mask.long(),
            "position_ids": positions,
            "past_key_values": self._cache,
            # As the state-space families call the same.
            "cache_params": self._cache,
            "use_cache": True,
        }
        output = self._body(**{name: inputs[name] for name in inputs if name in self._known})
        return output.last_hidden_state[:, -1]

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows, each as often as it is named."""
        # Layers that keep a state beside keys and values, or instead, know this way only.
        self._cache.reorder_cache(rows)
