"""Reads a tokenizer, or says which of its files is missing or damaged, and how to make it."""

import json
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from distillkit.core.errors import ModelError
from distillkit.models.folder import check_object

TABLES = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "tekken.json")
"""Files of SentencePiece and tiktoken, from which ``tokenizer.json`` can be made."""
ALONE = {"vocab.json", "vocab.txt", "merges.txt"}
"""Files of older tokenizers, which transformers reads as they are."""


def load_tokenizer(field: str, name: str, location: str, **options: Any) -> Any:
    """The tokenizer of a model.

    Args:
        field: as the user types it, ``student.name``.
        name: what was typed.
        location: hub name or folder.
        options: of ``from_pretrained``.

    Raises:
        ModelError: it cannot be read, or has no end token.
    """
    folder = Path(location)
    if folder.is_dir():
        _check_files(field, name, folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(location, **options)
        tokenizer.get_vocab()
    except Exception as error:
        # Its files are a stranger's: transformers may end in any error over them.
        first = next(iter(str(error).strip().splitlines()), "")
        raise ModelError(
            f"{field}={name}: the tokenizer could not be loaded ({type(error).__name__}: "
            f"{first[:200]}). Give a hub name that can be reached from here or a folder written "
            "by save_pretrained."
        ) from error
    if tokenizer.eos_token_id is None:
        named = "" if tokenizer.eos_token is None else f" for eos_token={tokenizer.eos_token!r}"
        raise ModelError(
            f"{field}={name}: the tokenizer has no end-of-sequence token{named}, so no response "
            "could end. Set eos_token in its tokenizer_config.json to the token that ends a text, "
            "or a turn, such as <|endoftext|> or </s>."
        )
    return tokenizer


def _check_files(field: str, name: str, folder: Path) -> None:
    """What the files of a folder tell before transformers reads them."""
    file = folder / "tokenizer.json"
    there = {each.name for each in folder.iterdir()}
    for json_file in (file, folder / "tokenizer_config.json"):
        if json_file.is_file():
            check_object(field, name, json_file)
    if file.is_file() and not json.loads(file.read_bytes()):
        raise ModelError(
            f"{field}={name}: {file.name} holds {{}} in place of a tokenizer's settings. Copy "
            "or download it again, or give a folder written by save_pretrained."
        )
    tables = [each for each in TABLES if each in there]
    if not file.is_file() and tables and not ALONE & there:
        raise ModelError(
            f"{field}={name} has {tables[0]} and no tokenizer.json, which is what is read here. "
            "Make it once with AutoTokenizer.from_pretrained(folder).save_pretrained(folder) after "
            "pip install sentencepiece tiktoken protobuf, or copy tokenizer.json from the hub."
        )
