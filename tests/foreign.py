"""Tokenizers of other kinds, and pairs of models that have two of them."""

from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from distillkit.models.language_model import LanguageModel
from distillkit.models.pretrained import Teacher
from scripts.byte_student import byte_tokenizer
from tests.tiny import build

WORDS = ["🙂", "Tom", "▁has", "▁12", "ple", "app", "les", "▁▁", "How", "▁many", "ny", "is"]
"""Pieces that are kept whole beside the letters."""


def byte_level() -> PreTrainedTokenizerFast:
    """One token a byte."""
    return byte_tokenizer()


def pieces_after_one_space() -> PreTrainedTokenizerFast:
    """The same, with a space before every text that has none, as T5's kind does."""
    tokenizer = pieces(first_space=True)
    backend = tokenizer.backend_tokenizer
    backend.normalizer = None
    backend.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
    return tokenizer


def pieces(*, first_space: bool = False) -> PreTrainedTokenizerFast:
    """A tokenizer of SentencePiece's kind: characters, some words, and bytes for all else.

    Args:
        first_space: whether a space is put before every text, as Llama 2 does.
    """
    letters = [chr(each) for each in range(0x21, 0x7F)]
    as_bytes = [f"<0x{each:02X}>" for each in range(256)]
    tokens = ["<pad>", "<eos>", *as_bytes, "▁", "\n", *letters]
    merges = []
    for word in WORDS:
        for end in range(2, len(word) + 1):
            merges.append((word[: end - 1], word[end - 1]))
            tokens.append(word[:end])
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys([*tokens, "🙂"]))}
    backend = Tokenizer(
        models.BPE(vocab=vocabulary, merges=[*dict.fromkeys(merges)], byte_fallback=True)
    )
    before = [normalizers.Prepend("▁")] if first_space else []
    backend.normalizer = normalizers.Sequence([*before, normalizers.Replace(" ", "▁")])
    after = [decoders.Strip(content=" ", left=1, right=0)] if first_space else []
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *after]
    )
    backend.add_special_tokens([AddedToken(each, special=True) for each in ("<pad>", "<eos>")])
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>")


def pair(**student: object) -> tuple[LanguageModel, LanguageModel]:
    """A student of bytes, and a teacher with the embedded tokenizer, of another family."""
    settings = {"tokenizer": byte_level(), "vocab_size": 258, "context": 256, "seed": 3}
    return build("llama", **{**settings, **student}), build("gpt2", side=Teacher, context=256)


def unlike(folder: Path) -> Path:
    """A folder of a random student of bytes, as a run loads it."""
    from scripts.byte_student import write

    write(folder / "bytes", width=32, layers=1)
    return folder / "bytes"
