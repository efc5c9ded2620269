"""A sequence classifier as the user names it; :mod:`distillkit.models.classifier` reads it."""

from dataclasses import dataclass

from omegaconf import MISSING

from distillkit.core.bounds import POSITIVE, check_range
from distillkit.models.exchange import ExchangeForm
from distillkit.models.pretrained import DType


@dataclass(kw_only=True, slots=True)
class Classifying:
    """Where a classifier comes from, what it reads, and which of its outputs counts."""

    name: str = MISSING
    """Hub name or local folder of a model for sequence classification, safetensors weights."""
    revision: str | None = None
    """Branch, tag or commit on the hub; pin it for a result that can be repeated."""
    dtype: DType = DType.auto
    """Type of the weights; ``auto`` is the one that they were saved in."""
    label: str | int | None = None
    """Name or number of the output that counts; null where there is but one."""
    form: ExchangeForm = ExchangeForm.auto
    """How prompt and answer are put together: ``chat`` (by the model's template), ``pair`` (as its
    text pair), ``text`` (as one text) or ``answer`` (it alone); ``auto`` is the first of the first
    three that its tokenizer can do."""
    max_tokens: int | None = None
    """Most tokens that are read, where the model's context is not shorter. Of what is longer, the
    beginning of the question is left out; an answer that does not fit is an error."""
    batch_size: int = 16
    """Answers that are read at once."""

    def __post_init__(self) -> None:
        check_range(self, "reward.", POSITIVE, "max_tokens", "batch_size")
