"""Text of data as token ids: what it spells is never read as a control token.

A tokenizer takes ``<|im_end|>`` for the end of a turn wherever it stands. Text that spells no
control token goes to the tokenizer as it is. Any other goes to a twin of the tokenizer whose
control tokens have secret names: they stand where a template puts them, and nowhere else.
"""

import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from secrets import token_hex
from typing import Any

from tokenizers import Tokenizer

SECRET = token_hex(8)
"""What no data can hold. No id depends on it."""

PARTNERED = re.compile(r"<[A-Za-z_]+>|</[A-Za-z_]+>")
"""Markup inside a text, such as ``<think>``, whose tokens a text may hold."""

HIDDEN = re.compile(f"\ue000{SECRET}([0-9]+)\ue001")


class PlainText:
    """Reads text for one tokenizer.

    Control tokens are the special ones, and those other added tokens that frame a turn. Blank ones
    and paired marks such as ``<think>`` are not among the latter: they belong to texts.

    Args:
        tokenizer: a transformers tokenizer.
        frame: what a chat template puts around turns.
        asked: whether control tokens are wanted in text; then nothing is kept from them.
    """

    def __init__(self, tokenizer: Any, *, frame: str = "", asked: bool = False) -> None:
        self._tokenizer, self.asked = tokenizer, asked
        named = set(tokenizer.all_special_tokens)
        self._control = {
            token.content: number
            for number, token in tokenizer.added_tokens_decoder.items()
            if token.content.strip()
            and (
                token.special
                or token.content in named
                or (token.content in frame and not PARTNERED.fullmatch(token.content))
            )
        }
        longest_first = sorted(self._control, key=len, reverse=True)
        known = "|".join(map(re.escape, longest_first)) or "(?!)"
        self._pattern, self._hides = re.compile(known), re.compile(f"{known}|[\ue000\ue001]")

    def spelled(self, *texts: str) -> str | None:
        """The first control token that texts spell; None where they spell none."""
        found = (self._pattern.search(text) for text in texts)
        return next((match[0] for match in found if match), None)

    def ids(self, text: str) -> tuple[int, ...]:
        """Token ids of a text alone, without any that the tokenizer would put around it."""
        if self.asked or self.spelled(text) is None:
            return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])
        return self._framed([text])

    def hidden(self, texts: Iterable[str]) -> tuple[list[str], list[str]]:
        """Texts with a secret name in the place of each control token that they spell.

        Returns:
            The texts, and what was hidden: the second argument of :meth:`revealed_ids`.
        """
        spelled: list[str] = []

        def hide(match: re.Match[str]) -> str:
            spelled.append(match[0])
            return f"\ue000{SECRET}{len(spelled) - 1}\ue001"

        return [self._hides.sub(hide, text) for text in texts], spelled

    def revealed_ids(self, text: str, spelled: Sequence[str]) -> tuple[int, ...]:
        """Token ids of a rendered text: its control tokens are read, what was hidden is not.

        Args:
            text: made of what :meth:`hidden` gave, by a template.
            spelled: what was hidden.

        Raises:
            ValueError: the template has cut a hidden name.
        """
        if not {"\ue000", "\ue001"}.isdisjoint(HIDDEN.sub("", text)):
            raise ValueError("the template takes its text to pieces")
        pieces, start = list[str](), 0
        for match in self._pattern.finditer(text):
            pieces += [text[start : match.start()], match[0]]
            start = match.end()
        pieces.append(text[start:])
        shown = [HIDDEN.sub(lambda match: spelled[int(match[1])], piece) for piece in pieces]
        return self._framed(shown)

    def _framed(self, pieces: Sequence[str]) -> tuple[int, ...]:
        """Ids of texts between which control tokens stand, at the odd places."""
        if self._twin is None:
            return self._apart(pieces)
        twin, names, ids = self._twin
        text = "".join(names[piece] if n % 2 else piece for n, piece in enumerate(pieces))
        found = twin.encode(text, add_special_tokens=False).ids
        return tuple(ids.get(number, number) for number in found)

    def _apart(self, pieces: Sequence[str]) -> tuple[int, ...]:
        """The same where a tokenizer has no twin: text by text."""
        ids: list[int] = []
        for number, piece in enumerate(pieces):
            if number % 2:
                ids.append(self._control[piece])
            elif piece:
                ids += self._tokenizer(piece, add_special_tokens=False, split_special_tokens=True)[
                    "input_ids"
                ]
        return tuple(ids)

    @cached_property
    def _twin(self) -> tuple[Tokenizer, dict[str, str], dict[int, int]] | None:
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, Tokenizer):
            return None
        names = {token: f"\ue000{SECRET}-{i}\ue001" for i, token in enumerate(self._control)}
        content = json.loads(backend.to_str())
        content |= {"post_processor": None, "truncation": None, "padding": None}
        content["model"] = _renamed(content["model"], names)
        own = {token["content"]: token["id"] for token in content["added_tokens"]}
        for token in content["added_tokens"]:
            if token["content"] in names:
                token |= {"content": names[token["content"]], "normalized": False}
        twin = Tokenizer.from_str(json.dumps(content))
        ids: dict[int, int] = {}
        for token, number in own.items():
            place = twin.token_to_id(names.get(token, token))
            assert place is not None
            ids[place] = number
        return twin, names, ids


def _renamed(model: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """A tokenizer's model that has some tokens under other names, so that no text spells them."""
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        vocabulary = {names.get(token, token): number for token, number in vocabulary.items()}
    else:
        vocabulary = [[names.get(token, token), score] for token, score in vocabulary]
    found = {**model, "vocab": vocabulary}
    if model.get("unk_token") in names:
        found["unk_token"] = names[model["unk_token"]]
    if "merges" in model:
        found["merges"] = [pair for pair in model["merges"] if not _makes(pair, names)]
    return found


def _makes(pair: str | list[str], names: dict[str, str]) -> bool:
    left, right = pair.split(" ", 1) if isinstance(pair, str) else pair
    return bool({left, right, left + right} & names.keys())
