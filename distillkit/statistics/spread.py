"""How far seeds lie apart, and how that goes with the level: what intervals are made of."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from distillkit.statistics.arrays import Array
from distillkit.statistics.bootstrap import LEVEL

POWERS = (0.0, 0.5, 1.0)
"""The spread is the same at every level, goes as a count's, or in proportion to the level."""
LEAST = 0.01
"""Share of the largest level below which the spread falls no more."""
ROUNDING = 1e-9
"""Share of the largest level below which a spread is none."""
APART = 0.05
"""Level of the test whether cells lie farther from the law than their seeds explain."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Variance of a seed: ``square`` times a power of the level."""

    power: float
    """One of POWERS, the likeliest."""
    largest: float
    """Level at which ``relative`` is 1."""
    square: float
    """Variance of a seed there."""
    seeds: int
    """Of all cells together."""
    free: int
    """Degrees of freedom of the interval."""

    def relative(self, level: Array) -> Array:
        """Variance at levels [n], as a share of the one at the largest."""
        shares = np.maximum(np.abs(level) / self.largest, LEAST) if self.largest else 1 + 0 * level
        return shares ** (2 * self.power)

    def variance(self, level: Array) -> Array:
        """Variance of a seed at levels [n]."""
        return self.square * self.relative(level)

    @property
    def quantile(self) -> float:
        """By how many times ``square`` the squares may grow inside of an interval."""
        return float(stats.f.ppf(LEVEL, 1, self.free))

    def around(self, left: float, *, cells: int, parameters: int) -> "Spread":
        """The same once a law was fitted to the cells' means.

        The larger of the spread of seeds and the one around the law; where the cells lie farther
        from the law than their seeds explain (F test), how far they lie, and nothing else. Seeds
        tell both the spread and how it goes with the level, so that half of their degrees of
        freedom count.

        Args:
            left: weighted squares that the law left, of the means.
            cells: sizes that the law was fitted to.
            parameters: of the law.
        """
        own, between = self.seeds - cells, cells - parameters
        rounding = (ROUNDING * self.largest) ** 2
        if max(self.square, left) <= rounding:
            return replace(self, square=0.0, free=max(1, own // 2))
        if between and left / between > self.square * stats.f.isf(APART, between, own):
            return replace(self, square=left / between, free=between)
        around = (own * self.square + left) / (own + between)
        return replace(self, square=max(self.square, around), free=max(1, own // 2))


def spread_of(cells: Sequence[Array]) -> Spread:
    """The spread inside of cells, each of two seeds or more."""
    levels = np.array([cell.mean() for cell in cells])
    variances = np.array([cell.var(ddof=1) for cell in cells])
    free = np.array([len(cell) - 1 for cell in cells])
    seeds = int(free.sum()) + len(cells)
    blank = Spread(0.0, float(np.abs(levels).max()), 0.0, seeds, int(free.sum()))
    if not variances.any():
        return blank
    likelihoods = {}
    for power in POWERS:
        relative = replace(blank, power=power).relative(levels)
        square = float((free * variances / relative).sum() / free.sum())
        likelihoods[-float((free * np.log(square * relative)).sum())] = power, square
    power, square = likelihoods[max(likelihoods)]
    return replace(blank, power=power, square=square)
