"""Text of tokens that come a few at a time."""

from collections.abc import Sequence
from typing import Any

BROKEN = "\ufffd"
"""What stands for bytes of a character that has more to come."""


class Text:
    """A response as far as it is written, without its special tokens, up to where it stops.

    Args:
        tokenizer: of the model that writes.
        stops: texts before which it ends.
    """

    def __init__(self, tokenizer: Any, stops: Sequence[str]) -> None:
        self._tokenizer, self._stops = tokenizer, stops
        self._tokens: list[int] = []
        self._told = 0
        self.stopped = False
        """Whether one of those texts was written."""

    def add(self, tokens: Sequence[int], *, last: bool = False) -> str:
        """What can be told of the text after further tokens."""
        self._tokens += tokens
        whole = self.whole()
        ready = len(whole)
        if not (last or self.stopped):
            ready -= len(whole) - len(whole.rstrip(BROKEN))
            # A text that ends the response may have begun.
            ready -= max((_begun(whole, stop) for stop in self._stops), default=0)
        piece = whole[self._told : ready]
        self._told = max(self._told, ready)
        return piece

    def whole(self) -> str:
        """All of it."""
        text = str(self._tokenizer.decode(self._tokens, skip_special_tokens=True))
        places = [text.find(stop) for stop in self._stops if stop in text]
        self.stopped = bool(places)
        return text[: min(places)] if places else text


def _begun(text: str, stop: str) -> int:
    """Characters at the end of a text that a stop begins with."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
