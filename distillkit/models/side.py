"""One model's part in text that is written speculatively."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from distillkit.models.language_model import LanguageModel, evaluating
from distillkit.models.rereading import Opens, filled


class Ready:
    """A model's weights as they are now, laid out for many small passes."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        with evaluating(model):
            self.opens: Opens = model.pages.ready()
            self._score = model.head.scorer()

    def logits(self, states: Tensor, vocabulary: int) -> Tensor:
        """Of hidden states [..., D], over so many ids [..., V]."""
        found = self._score(states.flatten(0, -2)).view(*states.shape[:-1], -1)
        missing = vocabulary - found.shape[-1]
        # What one of the models cannot say is never proposed, or never accepted.
        return functional.pad(found, (0, missing), value=-torch.inf) if missing else found


class Side:
    """One model's reading of a batch: prompts of its own, and the responses behind them."""

    def __init__(self, ready: Ready, prompts: Sequence[Sequence[int]], room: int) -> None:
        self._ready, device = ready, ready.model.device
        self._begun = torch.tensor([len(prompt) for prompt in prompts], device=device)
        self.room = ready.model.context - self._begun
        """Tokens behind each prompt that the model can read [B]."""
        self._last = torch.tensor([prompt[-1] for prompt in prompts], device=device)
        length = int(self._begun.max()) + room
        self._page = ready.opens(rows=len(prompts), length=length)
        if max(map(len, prompts)) > 1:
            head = filled([prompt[:-1] for prompt in prompts], device=device)
            self._page.read(head, torch.zeros_like(self._begun))

    def tail(self, ids: Tensor, written: Tensor, count: int) -> Tensor:
        """The last tokens [B, count] of prompts and what is written behind them, ids [B, T]."""
        whole = torch.cat([self._last[:, None], ids], dim=1)
        return whole.gather(1, written[:, None] + torch.arange(1 - count, 1, device=ids.device))

    def read(self, tokens: Tensor, start: Tensor, vocabulary: int) -> Tensor:
        """Logits [B, T, V] behind tokens [B, T] at so many tokens of the response [B]."""
        return self._ready.logits(self._page.read(tokens, self._begun + start), vocabulary)

    def keep(self, rows: Tensor) -> None:
        """Drop all other rows."""
        self._page.keep(rows)
        self._begun, self._last, self.room = self._begun[rows], self._last[rows], self.room[rows]
