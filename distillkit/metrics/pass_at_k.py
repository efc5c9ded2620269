"""Chance that at least one of k responses is right (Codex, arXiv:2107.03374, eq. 1)."""

from dataclasses import field
from math import comb

from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.metrics.base import Ratios, Tally
from distillkit.metrics.evidence import Evidence, Whose


@spec("metric/pass_at_k")
class PassAtK(Ratios):
    """Of the own samples: ``pass_at_1`` and so on, over examples with an answer to judge by.

    The unbiased estimate: the share of all choices of k among the n samples that hold a right
    one. A k above the number of samples has none and is left out.
    """

    k: list[int] = field(default_factory=lambda: [1, 5])
    """Numbers of tries."""

    def __post_init__(self) -> None:
        if not self.k or min(self.k) < 1:
            raise ConfigError(
                f"metric.pass_at_k.k must list numbers of at least 1, got {list(self.k)}. "
                "Give some as in metric.pass_at_k.k=[1,5]."
            )

    def measure(self, evidence: Evidence) -> Tally:
        records = {}
        for example, texts in zip(evidence.examples, evidence.samples(Whose.own), strict=True):
            verdicts = [text.correct for text in texts if text.correct is not None]
            if verdicts:
                records[example.id] = {
                    f"pass_at_{k}": [pass_at(k, len(verdicts), right=sum(verdicts)), 1]
                    for k in self.k
                    if k <= len(verdicts)
                }
        return Tally(records)


def pass_at(k: int, n: int, *, right: int) -> float:
    """1 - C(n - right, k) / C(n, k), rounded once."""
    return (comb(n, k) - comb(n - right, k)) / comb(n, k)
