"""What an evaluation is made of: models with their digests, examples with their judge, decoding."""

from collections.abc import Sequence
from dataclasses import dataclass

from distillkit.core.types import Example
from distillkit.datasets.base import Dataset
from distillkit.models.language_model import LanguageModel
from distillkit.models.sampling import Sampling


@dataclass(frozen=True, slots=True)
class Measured:
    """A loaded model and what tells it from all others.

    Attributes:
        model: the model.
        digest: of its weights and of how they are computed with.
    """

    model: LanguageModel
    digest: str


@dataclass(frozen=True, slots=True)
class Decoding:
    """How the texts of an evaluation are written, the same for every model.

    Attributes:
        max_new_tokens: length limit.
        samples: responses drawn for each example at temperature 1.
        seed: root of their draws.
        batch_size: rows side by side; changes no result beyond rounding.
    """

    max_new_tokens: int
    samples: int
    seed: int
    batch_size: int

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
