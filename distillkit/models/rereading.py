"""Reading texts whose ends may be read anew, as proposals are that were not accepted.

A token is put at its place in the text, and all that stood there or behind is forgotten. So nothing
is ever taken back: whoever reads on from an earlier place has taken back the rest.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from distillkit.models.reading import STAYING, WRITTEN, Found, Texts, Way

if TYPE_CHECKING:
    from distillkit.models.language_model import LanguageModel


class Page(Protocol):
    """Texts side by side."""

    def read(self, tokens: Tensor, start: Tensor) -> Tensor:
        """Put tokens [B, T] at the places from ``start`` [B] on; their hidden states [B, T, D].

        A row may be given more than its text, or than the model's context, has room for: what is
        said of tokens beyond means nothing, and does not change what is said of those before.
        """
        ...

    def keep(self, rows: Tensor) -> None:
        """Drop all other rows."""
        ...


class Opens(Protocol):
    """Begins pages."""

    def __call__(self, *, rows: int, length: int) -> Page:
        """An empty page of so many rows, of at most so many tokens each."""
        ...


def filled(texts: Sequence[Sequence[int]], *, device: torch.device) -> Tensor:
    """Token ids [B, T], zeros behind the shorter texts."""
    width = max(map(len, texts), default=0)
    return torch.tensor([[*text, *[0] * (width - len(text))] for text in texts], device=device)


def reread(model: "LanguageModel", way: Way[Opens], texts: Texts) -> Found:
    """Texts of which every row reads proposals that turn out wrong, and reads on before them."""
    opens = way.ready()
    for rows in ([0], [*range(len(texts.prompts))]):
        room = max(map(len, texts.prompts)) + WRITTEN + 1
        page = opens(rows=len(rows), length=room)
        prompts = [[*texts.prompts[row]] for row in rows]
        begun = torch.tensor([len(prompt) - 1 for prompt in prompts], device=model.device)
        if max(map(len, prompts)) > 1:
            head = filled([prompt[:-1] for prompt in prompts], device=model.device)
            page.read(head, torch.zeros_like(begun))
        whole = [
            [prompt[-1], *texts.responses[row]] for row, prompt in zip(rows, prompts, strict=True)
        ]
        right = torch.tensor(whole, device=model.device)
        wrong = right.roll(1, dims=1)
        agreed = torch.tensor([1 + place % 2 for place in range(len(rows))], device=model.device)
        columns = torch.arange(WRITTEN, device=model.device)
        proposed = right[:, :WRITTEN].where(columns < agreed[:, None], wrong[:, :WRITTEN])
        yield rows, 0, page.read(proposed, begun)[:, 0]
        if len(rows) > 1:
            staying = torch.tensor(STAYING, device=model.device)
            page.keep(staying)
            begun, agreed, right = begun[staying], agreed[staying], right[staying]
            rows = [*STAYING]
        width = WRITTEN - 2
        ahead = agreed[:, None] + torch.arange(width, device=model.device)
        states = page.read(right.gather(1, ahead), begun + agreed)
        for row in range(len(rows)):
            for step in range(width):
                yield [rows[row]], int(agreed[row]) + step, states[row : row + 1, step]
