"""A share of items, such as accuracy, with its interval."""

from dataclasses import dataclass
from math import sqrt

QUANTILE = 1.959963984540054
"""Of the normal distribution, at 0.975."""


@dataclass(frozen=True, slots=True)
class Proportion:
    """``hits`` of ``total``; the empty one is ``Proportion()``."""

    hits: int = 0
    total: int = 0

    def merge(self, other: "Proportion") -> "Proportion":
        """Both sets of items together; exact under any sharding."""
        return Proportion(self.hits + other.hits, self.total + other.total)

    def compute(self) -> float:
        """The share, NaN where there is no item."""
        return self.hits / self.total if self.total else float("nan")

    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval, as scipy's ``binomtest`` has it, which takes long to load."""
        if not self.total:
            return float("nan"), float("nan")
        share, square = self.hits / self.total, QUANTILE**2
        scale = 2 * (self.total + square)
        centre = (2 * self.total * share + square) / scale
        half = QUANTILE / scale * sqrt(4 * self.total * share * (1 - share) + square)
        low = centre - half if self.hits else 0.0
        return low, centre + half if self.hits < self.total else 1.0
