"""What the measured model is worth as the draft of speculative decoding (arXiv:2211.17192).

Whatever the draft proposes, the text that results is the teacher's own, so acceptance is measured
on prefixes of the teacher's samples. ``alpha`` is the mean over their positions of the chance that
a proposal is accepted, sum over the vocabulary of min(teacher, measured), at temperature 1 on both
sides. The rest follows for rounds of k proposals whose acceptances are independent.
"""

from collections.abc import Mapping
from dataclasses import field
from typing import ClassVar

import numpy as np

from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.metrics.base import Ratios, Tally
from distillkit.metrics.evidence import Evidence, Whose
from distillkit.metrics.token_mean import token_mean


@spec("metric/speculation")
class Speculation(Ratios):
    """``alpha``, ``tokens_per_round_k5``, and ``speed_up_k5_c0.05`` over the teacher alone."""

    COMPARES: ClassVar = True

    k: list[int] = field(default_factory=lambda: [5])
    """Tokens proposed in a round."""
    c: list[float] = field(default_factory=lambda: [0.05])
    """Costs of a step of the draft, as shares of a step of the teacher."""

    def __post_init__(self) -> None:
        if any(k < 1 for k in self.k):
            raise ConfigError(
                f"metric.speculation.k must list numbers of at least 1, got {list(self.k)}."
            )
        if any(c < 0 for c in self.c):
            raise ConfigError(
                f"metric.speculation.c must list numbers of at least 0, got {list(self.c)}."
            )

    def measure(self, evidence: Evidence) -> Tally:
        compared = zip(evidence.examples, evidence.compared(Whose.teacher), strict=True)
        return Tally(
            {
                example.id: {"alpha": token_mean(text.overlap for text in texts)}
                for example, texts in compared
            }
        )

    def finish(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        numbers = Ratios.finish(self, sums)
        if "alpha" not in numbers:
            return {}
        alpha = numbers["alpha"]
        rounds = {f"tokens_per_round_k{k}": tokens_per_round(alpha, k) for k in self.k}
        gains = {
            f"speed_up_k{k}_c{c:g}": speed_up(alpha, k, cost=c) for k in self.k for c in self.c
        }
        return {**numbers, **rounds, **gains}


def tokens_per_round(alpha: float, k: int) -> float:
    """(1 - alpha^(k + 1)) / (1 - alpha) as the sum that it is, so that alpha may be 1."""
    return sum(alpha**accepted for accepted in range(k + 1))


def speed_up(alpha: float, k: int, *, cost: float) -> float:
    """Tokens of a round over its time, in steps of the teacher."""
    return tokens_per_round(alpha, k) / (k * cost + 1)
