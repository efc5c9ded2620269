"""A response becomes an answer: its ids are decoded, and its dataset says what it is worth."""

from typing import Any

from distillkit.core.types import Answer, Example, Response
from distillkit.datasets.base import Dataset


def answered(
    example: Example,
    response: Response,
    tokenizer: Any,
    *,
    judge: Dataset | None = None,
    extract: bool = False,
) -> Answer:
    """A response as it is read.

    Args:
        example: what was asked.
        response: what was written.
        tokenizer: of who wrote it.
        judge: says whether it is right, where the example has an answer; None for nobody.
        extract: whether the judge also says which final answer it states.
    """
    text = tokenizer.decode(response.tokens, skip_special_tokens=True)
    known = judge is not None and example.answer
    return Answer(
        example,
        text,
        response.tokens,
        response.truncated,
        stated=judge.stated(example, text) if judge is not None and extract else None,
        correct=judge.is_correct(example, text) if judge is not None and known else None,
    )
