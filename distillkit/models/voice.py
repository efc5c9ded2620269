"""One model's place in the text that is being written."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor


class DecodingStep(Protocol):
    """Reads tokens behind those it has read; see :class:`distillkit.models.decoder.Decoder`."""

    def __call__(self, tokens: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        """Read tokens [B, T] and return the last hidden state of each row [B, D]."""

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows, each as often as it is named."""


class Opened(Protocol):
    """Begins a batch of texts."""

    def __call__(self, *, rows: int, length: int) -> DecodingStep:
        """What reads so many rows side by side, of at most so many tokens each."""


class Voice:
    """One model's place in the text that is being written, and its opinion of what comes next.

    Args:
        prompts: what it reads before the responses, side by side; what several begin with, once.
        opened: how it reads.
        score: its head, as :meth:`distillkit.models.head.Head.scorer` gives it.
        room: most tokens of a response.
        pad_id: any valid id; masked.
        device: where it is.
    """

    def __init__(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        opened: Opened,
        score: Callable[[Tensor], Tensor],
        room: int,
        pad_id: int,
        device: torch.device,
    ) -> None:
        self._score = score
        apart: dict[tuple[int, ...], int] = {}
        places = [apart.setdefault(tuple(prompt), len(apart)) for prompt in prompts]
        self._tokens, mask = (part.to(device) for part in _pad_left([*apart], pad_id))
        self._position = (mask.cumsum(-1) - 1).clamp_min(0)
        self._mask = None if bool(mask.all()) else mask
        self._decoder = opened(rows=len(apart), length=mask.shape[1] + room)
        shared = len(apart) < len(prompts)
        self._spread = torch.tensor(places, device=device) if shared else None

    def logits(self) -> Tensor:
        """Of each row's next token [B, V]."""
        state = self._decoder(self._tokens, self._position, self._mask)
        if self._spread is not None:
            # All that begin with a prompt go on from the one pass over it.
            state = state[self._spread]
            self.keep(self._spread)
            self._spread = None
        return self._score(state)

    def read(self, chosen: Tensor) -> None:
        """Append one token to each row, ids [B]."""
        self._tokens, self._position = chosen[:, None], self._position[:, -1:] + 1
        if self._mask is not None:
            real = self._mask.new_ones(len(self._mask), 1)
            self._mask = torch.cat([self._mask, real], dim=1)

    def keep(self, rows: Tensor) -> None:
        """Drop all other rows."""
        self._decoder.keep(rows)
        self._tokens, self._position = self._tokens[rows], self._position[rows]
        if self._mask is not None:
            self._mask = self._mask[rows]


def _pad_left(prompts: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Ids [B, T] and whether each is real [B, T]."""
    width = max(map(len, prompts))
    tokens = torch.full((len(prompts), width), pad_id)
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        tokens[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = True
    return tokens, mask
