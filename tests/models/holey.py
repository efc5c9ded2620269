"""A tokenizer whose ids have holes, and models that go with it."""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import AutoTokenizer

from tests.tiny import TOKENIZER

END, LARGEST = 393, 393
HOLES = (1, *range(382, 393))
REAL = tuple(sorted(set(range(LARGEST + 1)) - set(HOLES)))
"""Ids that have a token; the largest is the end."""


def edited(edit: Callable[[dict[str, Any]], None], **settings: Any) -> Any:
    """The tokenizer of the tiny models after an edit of tokenizer.json."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        AutoTokenizer.from_pretrained(TOKENIZER).save_pretrained(folder)
        file = folder / "tokenizer.json"
        content = json.loads(file.read_text())
        edit(content)
        file.write_text(json.dumps(content))
        return AutoTokenizer.from_pretrained(folder, **settings)


def holey() -> Any:
    """The tokenizer with its end moved far behind all other tokens: twelve ids have no token."""

    def move(content: dict[str, Any]) -> None:
        content["model"]["vocab"]["<eos>"] = END
        for token in content["added_tokens"]:
            if token["content"] == "<eos>":
                token["id"] = END

    return edited(move)
