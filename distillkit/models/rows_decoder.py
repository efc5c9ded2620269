"""Pages of any causal language model: each row behind a cache of its own, which transformers cuts.

Rows that take back different numbers of tokens cannot share one of its caches.
"""

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor


class RowsDecoder:
    """What :meth:`distillkit.models.decoder.Decoder.read` is for Llama-like models, for all others.

    Args:
        body: the transformer below the head, called with transformers' arguments.
        config: its configuration.
        known: the arguments that it has.
        rows: texts side by side.
        last: position of the last token that the model has room for.
    """

    def __init__(
        self,
        body: Callable[..., Any],
        config: Any,
        known: Collection[str],
        rows: int,
        *,
        last: int,
    ) -> None:
        from transformers import DynamicCache  # slow to load, and one may never be built

        self._body, self._known, self._last = body, known, last
        self._caches = [DynamicCache(config=config) for _ in range(rows)]
        self._read = [0] * rows
        for cache in self._caches:
            # Else a layer that forgets what is far away could not take back what is near.
            cache.activate_past_recording()

    def read(self, tokens: Tensor, start: Tensor) -> Tensor:
        """See :class:`distillkit.models.rereading.Page`."""
        return torch.cat(
            [
                self._of_row(row, text[None], place)
                for row, (text, place) in enumerate(zip(tokens, start.tolist(), strict=True))
            ]
        )

    def keep(self, rows: Tensor) -> None:
        """Drop all other rows."""
        self._caches = [self._caches[row] for row in rows.tolist()]
        self._read = [self._read[row] for row in rows.tolist()]

    def _of_row(self, row: int, text: Tensor, place: int) -> Tensor:
        cache, end = self._caches[row], place + text.shape[1]
        if place < self._read[row]:
            # What a layer has forgotten by then lies before the last place that was gone back to.
            cache.crop(place - self._read[row])
        self._read[row] = end
        positions = torch.arange(place, end, device=text.device).clamp_max(self._last)
        inputs = {
            "input_ids": text,
            "position_ids": positions[None],
            "past_key_values": cache,
            "cache_params": cache,
            "use_cache": True,
        }
        known = {name: inputs[name] for name in inputs if name in self._known}
        return self._body(**known).last_hidden_state
