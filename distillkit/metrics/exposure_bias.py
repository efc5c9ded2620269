"""Errors that pile up because a model reads its own text (arXiv:2204.01171, arXiv:2306.08543).

At step t both models predict a token from a prefix, at a cost of KL(teacher || measured). With
``own`` and ``teacher`` the mean cost over samples of each that are still alive at t:

    R(l) = sum of own over t <= l        l * epsilon(l) = sum of teacher over t <= l
    ExAccErr(l) = 100 * (R(l) - l * epsilon(l)) / (l * epsilon(l))

so it says by how many per cent the regret exceeds what prefixes of the teacher would explain.
Position 1 is the first token of the response. MiniLLM's code skips it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from itertools import zip_longest
from math import fsum
from typing import ClassVar

import numpy as np

from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.metrics.base import Record, Sums, Tally, sums_of
from distillkit.metrics.evidence import Compared, Evidence, Whose

SIDES = (Whose.own, Whose.teacher)


@spec("metric/exposure_bias")
class ExposureBias(Sums):
    """At each asked length: ``regret_64``, ``epsilon_64`` and ``ex_acc_err_64``, in per cent.

    A length that fewer than ``least`` samples of either side reach has no number, and neither has
    one at which both models agree on all of the teacher's text.
    """

    COMPARES: ClassVar = True

    lengths: list[int] = field(default_factory=lambda: [8, 16, 32, 64, 128, 256])
    """Response lengths at which to report, in tokens."""
    least: int = 20
    """Samples that must reach a position."""

    def __post_init__(self) -> None:
        if not self.lengths or min(self.lengths) < 1:
            raise ConfigError(
                "metric.exposure_bias.lengths must list numbers of at least 1, got "
                f"{list(self.lengths)}."
            )
        if self.least < 1:
            raise ConfigError(f"metric.exposure_bias.least must be at least 1, got {self.least}.")

    def measure(self, evidence: Evidence) -> Tally:
        compared = [(side, evidence.compared(side)) for side in SIDES]
        return Tally(
            {
                example.id: {
                    name: column
                    for side, texts in compared
                    for name, column in _columns(side, texts[place]).items()
                }
                for place, example in enumerate(evidence.examples)
            }
        )

    def finish(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        points = {length: rest for length, *rest in self._points(sums)}
        numbers = {}
        for length in self.lengths:
            if length in points:
                regret, baseline, excess = points[length]
                numbers[f"regret_{length}"] = regret
                numbers[f"epsilon_{length}"] = baseline / length
                numbers[f"ex_acc_err_{length}"] = excess
        return numbers

    def curves(self, records: Sequence[Record]) -> dict[str, dict[str, list[float]]]:
        """``exposure_bias``: ``R``, ``l_epsilon`` and ``ex_acc_err`` at every ``length``."""
        columns = zip(*self._points(sums_of(records)), strict=True)
        names = ("length", "R", "l_epsilon", "ex_acc_err")
        values = [list(map(float, column)) for column in columns] or [[] for _ in names]
        return {"exposure_bias": dict(zip(names, values, strict=True))}

    def _points(self, sums: Mapping[str, np.ndarray]) -> list[tuple[int, float, float, float]]:
        """Length, R, l * epsilon and ExAccErr wherever they are known."""
        if not sums:
            return []
        alive = [sums[f"{side}_alive"] for side in SIDES]
        reached = min(int((side >= self.least).sum()) for side in alive)
        regret, baseline = (
            np.cumsum(sums[side][:reached] / count[:reached])
            for side, count in zip(SIDES, alive, strict=True)
        )
        return [
            (length, float(r), float(b), float(100 * (r - b) / b))
            for length, (r, b) in enumerate(zip(regret, baseline, strict=True), 1)
            if b
        ]


def _columns(side: Whose, texts: Iterable[Compared]) -> dict[str, list[float]]:
    """Sum of the cost over a side's samples at each position, and how many are alive there."""
    positions = zip_longest(*(text.forward_kl.tolist() for text in texts))
    there = [[cost for cost in position if cost is not None] for position in positions]
    return {str(side): [fsum(costs) for costs in there], f"{side}_alive": [len(c) for c in there]}
