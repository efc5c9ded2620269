"""What an evaluation is made of: models with their digests, examples with their judge, decoding."""

from collections.abc import Sequence
from dataclasses import dataclass

from distillkit.core.types import Example
from distillkit.datasets.base import Dataset
from distillkit.models.language_model import LanguageModel
from distillkit.models.sampling import Sampling


@dataclass(frozen=True, slots=True)
class Measured:
    """A loaded model and what tells it from all others."""

    model: LanguageModel
    """The model."""
    digest: str
    """Of its weights and of how they are computed with."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How the texts of an evaluation are written, the same for every model."""

    max_new_tokens: int
    """Length limit."""
    samples: int
    """Responses drawn for each example at temperature 1."""
    seed: int
    """Root of their draws."""
    batch_size: int
    """Rows side by side; changes no result beyond rounding."""

    def sampling(self, temperature: float) -> Sampling:
        """Neutral sampling at a temperature; 0 is greedy."""
        return Sampling(
            temperature=temperature,
            max_new_tokens=self.max_new_tokens,
            batch_size=self.batch_size,
        )


@dataclass(frozen=True, slots=True)
class Judged:
    """Examples and the dataset that knows when an answer to them is right."""

    dataset: Dataset
    examples: Sequence[Example]
