"""What everybody does who writes responses: see that there is room, draw, and make records."""

from collections.abc import Sequence

import torch
from torch import Tensor

from distillkit.core.errors import DataError, ModelError
from distillkit.core.seeds import Share
from distillkit.core.types import Author, Response
from distillkit.models.language_model import LanguageModel


def check_room(model: LanguageModel, prompts: Sequence[Sequence[int]]) -> None:
    """Refuse prompts behind which nothing can be written.

    Raises:
        DataError: a prompt fills the model's context.
    """
    longest = max(map(len, prompts), default=0)
    if longest >= model.context:
        raise DataError(
            f"a prompt of {longest} tokens fills the model's context of {model.context}. "
            "Drop long prompts with loop.max_prompt_tokens=..., or choose a model with more room."
        )


def draws(seed: int | Sequence[int], rows: int, width: int) -> Tensor:
    """Numbers in [0, 1) [rows, width], fp64."""
    if isinstance(seed, int):
        generator = torch.Generator().manual_seed(seed)
        return torch.rand(rows, width, generator=generator, dtype=torch.float64)
    assert len(seed) == rows
    if isinstance(seed, Share):
        return draws(seed.seed, seed.total, width)[list(seed.rows)]
    return torch.cat(
        [torch.empty(0, width, dtype=torch.float64), *(draws(each, 1, width) for each in seed)]
    )


def cut(
    author: Author, ids: Tensor, log_probs: Sequence[Tensor], lengths: Tensor, ended: Tensor
) -> list[Response]:
    """Rows of ids [B, T] and of their log-probabilities as responses of so many tokens [B].

    Raises:
        ModelError: a log-probability is no number, as after an update that went astray.
    """
    rows = zip(ids.tolist(), lengths.tolist(), ended.tolist(), strict=True)
    likely = zip(*(kept.tolist() for kept in log_probs), strict=True)
    texts = [
        Response(tuple(row[:length]), not end, author, *(tuple(kept[:length]) for kept in of_row))
        for (row, length, end), of_row in zip(rows, likely, strict=True)
    ]
    if any(value != value for text in texts for value in text.log_probs):
        raise ModelError(
            "the model's logits are not finite while it writes. Lower optimizer.lr, or use "
            "precision=fp32 and student.dtype=float32."
        )
    return texts
