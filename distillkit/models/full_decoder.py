"""The decoding step without a cache: every text is read anew, whole, for each of its tokens."""

from collections.abc import Callable, Sequence

from torch import Tensor


class FullDecoder:
    """What :class:`distillkit.models.decoder.Decoder` is, for models whose cache goes wrong.

    Slow, for a text of n tokens is read n times, and right wherever scoring is.

    Args:
        behind: hidden states [B, T, D] behind so many last tokens of texts, read side by side.
    """

    def __init__(self, behind: Callable[[Sequence[Sequence[int]], int], Tensor]) -> None:
        self._behind = behind
        self._texts: list[list[int]] = []

    def __call__(self, tokens: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        """Read tokens [B, T] and return the last hidden state of each row [B, D]."""
        width = tokens.shape[1]
        self._texts = self._texts or [[] for _ in range(len(tokens))]
        real = [[True] * width] * len(tokens) if mask is None else mask[:, -width:].tolist()
        for text, row, kept in zip(self._texts, tokens.tolist(), real, strict=True):
            text += [token for token, keep in zip(row, kept, strict=True) if keep]
        return self._behind(self._texts, 1)[:, 0]

    def read(self, tokens: Tensor, start: Tensor) -> Tensor:
        """See :class:`distillkit.models.rereading.Page`."""
        self._texts = self._texts or [[] for _ in range(len(tokens))]
        for text, row, place in zip(self._texts, tokens.tolist(), start.tolist(), strict=True):
            text[place:] = row
        return self._behind(self._texts, tokens.shape[1])

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows, each as often as it is named."""
        self._texts = [[*self._texts[row]] for row in rows.tolist()]
