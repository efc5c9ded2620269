"""The bytes that each token of a tokenizer stands for, so that two tokenizers can be laid together.

Byte-level BPE writes every byte as a character of its own (GPT-2's table). SentencePiece-like
tokenizers write a space as U+2581 and unknown characters byte by byte, as ``<0xF0>``; some of them
put a space before a text, which is no part of it. Other kinds do not say which bytes a token is.
"""

import re
from collections.abc import Sequence
from typing import Any

from distillkit.core.errors import ModelError
from distillkit.models.plain_text import PlainText

PROBES = (
    "The capital of France is Paris.\n\n\t- naïve café, Ünïcödé, año: 3.14 x^2 != 11!",
    "  two spaces,\r\n中文字符，日本語のテスト 한국어 привет שלום नमस्ते",
    "🙂👩‍👩‍👧 🇩🇪 → ∑ ½ “quoted” \U0001f9ff\U00010348",
)
"""Texts whose bytes must come back, with characters that few vocabularies hold whole."""
SPACE, BYTE = "\u2581", re.compile(r"<0x([0-9A-Fa-f]{2})>")

Bytes = bytes | None
"""What a token stands for in a text; None for a control token, which no text holds."""


class TokenBytes:
    """The bytes of each id of one tokenizer.

    Args:
        tokenizer: a fast one of transformers.
        plain: reads text for it.
        name: of the model as typed, for error messages.

    Raises:
        ModelError: it is of a kind that does not say, or loses something of a text.
    """

    def __init__(self, tokenizer: Any, plain: PlainText, *, name: str) -> None:
        self._known = _table(tokenizer, name)
        self._opens_with_space = False
        ids = plain.ids("x")
        self._opens_with_space = b"".join(each or b"" for each in self.of(ids)) == b" x"
        for text in PROBES:
            found = b"".join(each or b"" for each in self.of(plain.ids(text), text.encode()))
            if found != text.encode():
                raise ModelError(
                    f"{name}: its tokenizer gives {text[:24]!r} back as "
                    f"{found[:40].decode(errors='replace')!r}, so its tokens cannot be laid beside "
                    "another tokenizer's. Choose a model whose tokenizer loses nothing of a text, "
                    "or two models of one family."
                )

    def of(self, ids: Sequence[int], text: bytes | None = None) -> list[Bytes]:
        """The bytes of each token of a response.

        The first may open with a space that the tokenizer has put there, which is no part of it.

        Args:
            ids: tokens.
            text: that they were made of, where it is known: some tokenizers put no space before a
                text that has one.
        """
        found = [self._known[each] if each < len(self._known) else None for each in ids]
        if text is not None and text.startswith(b"".join(each or b"" for each in found)):
            return found
        if self._opens_with_space and found and (first := found[0]) and first.startswith(b" "):
            found[0] = first[1:]
        return found

    def __getitem__(self, number: int) -> Bytes:
        return self._known[number]

    def __len__(self) -> int:
        return len(self._known)


def _table(tokenizer: Any, name: str) -> list[Bytes]:
    """Of each id up to the largest."""
    read = _reader(tokenizer, name)
    added = tokenizer.added_tokens_decoder
    vocabulary = tokenizer.get_vocab()
    found: list[Bytes] = [None] * (max(vocabulary.values()) + 1)
    for token, number in vocabulary.items():
        known = added.get(number)
        if known is None:
            found[number] = read(token)
        elif not known.special:
            found[number] = known.content.encode()
    return found


def _reader(tokenizer: Any, name: str) -> Any:
    """What makes bytes of an ordinary token's name."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    kind = "" if backend is None else type(backend.model).__name__
    decoder = "" if backend is None else repr(backend.decoder)
    if kind in ("BPE", "Unigram") and "ByteLevel" in decoder:
        characters = _characters()
        return lambda token: _through(characters, token)
    if kind in ("BPE", "Unigram") and ("Metaspace" in decoder or SPACE in decoder):
        return _of_piece
    raise ModelError(
        f"{name}: its tokenizer is of the kind {kind or type(tokenizer).__name__}, whose tokens do "
        "not say which bytes they are, so it cannot be laid beside another tokenizer. Choose a "
        "model with byte-level BPE or a SentencePiece vocabulary, or two models of one family."
    )


def _through(characters: dict[str, int], token: str) -> bytes:
    try:
        return bytes(characters[each] for each in token)
    except KeyError:
        return token.encode()


def _of_piece(token: str) -> bytes:
    if match := BYTE.fullmatch(token):
        return bytes([int(match[1], 16)])
    return token.replace(SPACE, " ").encode()


def _characters() -> dict[str, int]:
    """GPT-2's table: printable bytes are themselves, the others stand from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [each for each in range(0x100) if each not in printable]
    return {chr(each): each for each in printable} | {
        chr(0x100 + place): each for place, each in enumerate(others)
    }
