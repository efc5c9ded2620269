"""How well a model foretells text: perplexity of a token and of a byte."""

from collections.abc import Mapping
from dataclasses import field
from math import fsum, log

import numpy as np

from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.metrics.base import Sums, Tally
from distillkit.metrics.evidence import Evidence, Foretold, Whose


@spec("metric/perplexity")
class Perplexity(Sums):
    """exp of the measured model's nats on each of ``texts``, over all examples' texts together.

    N is the sum of -log p(token | prompt and tokens before it) over every token of every text, at
    temperature 1 over the real vocabulary: the first token counts, and the end token where the text
    ends; the prompt does not. With T the number of those tokens and B that of the UTF-8 bytes of
    their text, in which the end token has none,

    - ``token_perplexity_<text>`` is exp(N / T),
    - ``byte_perplexity_<text>`` is exp(N / B), the same unit for every tokenizer,
    - ``bits_per_byte_<text>`` is N / (B log 2).

    ``dataset`` is the reference behind its prompt, or a passage behind the token that opens one,
    closed and cut as in training; ``own`` are the measured model's samples, ``teacher`` the
    teacher's. No average is taken of averages. An example without a reference has no such text.
    """

    texts: list[Whose] = field(default_factory=lambda: [Whose.dataset, Whose.own])
    """Whose texts: ``dataset``, ``own``, ``teacher``. Samples have to be written first."""

    def __post_init__(self) -> None:
        if not self.texts:
            raise ConfigError(
                "metric.perplexity.texts=[] names no text. Use dataset, own, teacher or several."
            )

    def measure(self, evidence: Evidence) -> Tally:
        known = [(str(source), evidence.foretold(source)) for source in dict.fromkeys(self.texts)]
        return Tally(
            {
                example.id: {source: _counted(texts[place]) for source, texts in known}
                for place, example in enumerate(evidence.examples)
            }
        )

    def finish(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        numbers = {}
        for source, (nats, tokens, size) in sums.items():
            if tokens:
                numbers[f"token_perplexity_{source}"] = _exp(nats / tokens)
            if size:
                numbers[f"byte_perplexity_{source}"] = _exp(nats / size)
                numbers[f"bits_per_byte_{source}"] = float(nats / size / log(2))
        return numbers


def _counted(texts: tuple[Foretold, ...]) -> list[float]:
    """Nats, tokens and bytes of several texts."""
    return [
        -fsum(nat for text in texts for nat in text.log_prob.tolist()),
        sum(len(text.log_prob) for text in texts),
        sum(text.size for text in texts),
    ]


def _exp(value: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.exp(value))
