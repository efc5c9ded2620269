"""Bytes of tokens, of every kind of tokenizer that says them, and refusals of those that do not."""

from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from distillkit.core.errors import ModelError
from distillkit.models.plain_text import PlainText
from distillkit.models.token_bytes import PROBES, TokenBytes
from distillkit.opinions.alignment import chunks
from tests.foreign import byte_level, pieces, pieces_after_one_space
from tests.tiny import TOKENIZER


def bytes_of(tokenizer: Any) -> TokenBytes:
    """Of a tokenizer that reads plain text."""
    return TokenBytes(tokenizer, PlainText(tokenizer), name="teacher.name")


KINDS = {
    "bytes": byte_level,
    "embedded": lambda: AutoTokenizer.from_pretrained(TOKENIZER),
    "pieces": pieces,
    "pieces after a space": lambda: pieces(first_space=True),
    "pieces after one space": pieces_after_one_space,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", [*PROBES, "Hello", " Hello", "", "🙂", "a\n\n b"])
def test_the_bytes_of_a_texts_tokens_are_the_texts(kind: str, text: str) -> None:
    tokenizer = KINDS[kind]()
    found = bytes_of(tokenizer)
    ids = PlainText(tokenizer).ids(text)
    assert b"".join(each or b"" for each in found.of(ids, text.encode())) == text.encode()


def test_a_character_may_be_one_token_or_a_token_for_each_byte() -> None:
    whole, apart = bytes_of(pieces()), bytes_of(byte_level())
    for found, expected in ((whole, ["🙂".encode()]), (apart, [*map(bytes, zip("🙂".encode()))])):
        tokenizer = pieces() if found is whole else byte_level()
        assert found.of(PlainText(tokenizer).ids("🙂")) == expected
    assert whole.of(PlainText(pieces()).ids("é")) == [b"\xc3", b"\xa9"]


def test_control_tokens_have_no_bytes() -> None:
    tokenizer = byte_level()
    found = bytes_of(tokenizer)
    assert found[tokenizer.eos_token_id] is None
    assert found.of([tokenizer.eos_token_id, len(found) + 5]) == [None, None]


def word_pieces() -> PreTrainedTokenizerFast:
    """A tokenizer of BERT's kind."""
    backend = Tokenizer(
        models.WordPiece(vocab={"[UNK]": 0, "x": 1, "##x": 2, "<eos>": 3}, unk_token="[UNK]")
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>")


def lower_case() -> PreTrainedTokenizerFast:
    """One that loses capitals."""
    tokenizer = byte_level()
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    return tokenizer


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (word_pieces, "teacher.name: its tokenizer is of the kind WordPiece, whose tokens do not"),
        (lower_case, "teacher.name: its tokenizer gives 'The capital of France is' back as 'the"),
    ],
)
def test_what_does_not_say_its_bytes_or_loses_some_is_refused(made: Any, words: str) -> None:
    with pytest.raises(ModelError) as caught:
        bytes_of(made())
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_that_composes_characters_is_taken_and_aligned_up_to_one() -> None:
    """Qwen's puts text into NFC, so that an accent written apart becomes another text."""
    tokenizer = byte_level()
    tokenizer.backend_tokenizer.normalizer = normalizers.NFC()
    found = bytes_of(tokenizer)
    apart = "ne\u0301e"
    composed = found.of(PlainText(tokenizer).ids(apart), apart.encode())
    assert [len(chunk.ours) for chunk in chunks([*map(bytes, zip(apart.encode()))], composed)] == [
        1
    ]
