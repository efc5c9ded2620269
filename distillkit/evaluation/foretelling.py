"""How likely one model finds given texts: a pass over each, kept text by text."""

from collections.abc import Sequence

import numpy as np

from distillkit.core.keeper import Keeper
from distillkit.core.store import key_of
from distillkit.core.types import Example
from distillkit.evaluation.parts import Measured
from distillkit.evaluation.scoring import foretell
from distillkit.metrics.evidence import Foretold
from distillkit.models.language_model import LanguageModel


def foretold(
    subject: Measured,
    examples: Sequence[Example],
    texts: Sequence[Sequence[tuple[int, ...]]],
    *,
    layout: int,
    keeper: Keeper,
) -> list[tuple[Foretold, ...]]:
    """The model on some texts of each example.

    Args:
        subject: the measured model.
        examples: whose prompts stand before the texts.
        texts: token ids, as :meth:`LanguageModel.reference_ids` or a writer gives them.
        layout: of what is kept.
        keeper: where it is kept.
    """
    model = subject.model
    rows = [
        (model.prompts.prompt_ids(example), tokens)
        for example, several in zip(examples, texts, strict=True)
        for tokens in several
    ]
    keys = [key_of(layout, "foretold", subject.digest, *row) for row in rows]

    def score(part: Sequence[int]) -> list[bytes]:
        some = [rows[row] for row in part]
        found = foretell(model, [row[0] for row in some], [row[1] for row in some])
        return [values.tobytes() for values in found]

    lengths = [len(prompt) + len(tokens) for prompt, tokens in rows]
    kept = keeper.get("likelihoods", keys, lengths=lengths, make=score)
    found = (np.frombuffer(value, dtype=np.float32) for value in kept)
    return [
        tuple(Foretold(next(found), text_bytes(model, example, tokens)) for tokens in several)
        for example, several in zip(examples, texts, strict=True)
    ]


def text_bytes(model: LanguageModel, example: Example, tokens: tuple[int, ...]) -> int:
    """UTF-8 bytes of a text: of the reference itself where it is that, whole."""
    text = example.reference
    if not text or tokens != model.reference_ids(example):
        text = model.tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
    return len(text.encode())
