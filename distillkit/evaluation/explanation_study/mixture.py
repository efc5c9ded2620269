"""Mixtures of Gaussians: drawing, densities, and the sharpening of weights."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import logsumexp

Array = np.ndarray[Any, np.dtype[np.float64]]

GRID = np.array([(x, y) for y in (1, 0, -1) for x in (-1, 0, 1) if (x, y) != (0, 0)], dtype=float)
"""Means of the truth [8, 2]: three by three without the centre."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """K Gaussians in D dimensions whose coordinates are independent."""

    weights: Array
    """[K], adding up to 1."""
    means: Array
    """[K, D]."""
    variances: Array
    """[K, D]."""

    def sample(self, n: int, random: np.random.Generator) -> Array:
        """Points [n, D]."""
        which = random.choice(len(self.weights), size=n, p=self.weights)
        noise = random.standard_normal((n, self.means.shape[1]))
        return self.means[which] + np.sqrt(self.variances[which]) * noise

    def log_density(self, points: Array) -> Array:
        """Of points [n, D], in nats [n]."""
        distance = (points[:, None] - self.means) ** 2 / self.variances
        each = -0.5 * (distance + np.log(2 * np.pi * self.variances)).sum(-1)
        with np.errstate(divide="ignore"):
            found: Array = logsumexp(each + np.log(self.weights), axis=1)
        return found

    def sharpened(self, beta: float) -> "Mixture":
        """Weights to the power of beta, normalised; means and variances stay.

        In logarithms: 0.3 to the power of 1,000 is no number of 64 bits.
        """
        with np.errstate(divide="ignore"):
            logs = beta * np.log(self.weights)
        return replace(self, weights=np.exp(logs - logsumexp(logs)))

    @property
    def entropy(self) -> float:
        """Of the weights, in nats."""
        used = self.weights[self.weights > 0]
        return float(-(used * np.log(used)).sum())


def truth(variance: float, ratio: float) -> Mixture:
    """Eight Gaussians around the origin.

    Args:
        variance: of every coordinate.
        ratio: of each weight to the one before; 1 is the paper's.
    """
    weights = ratio ** np.arange(len(GRID))
    return Mixture(weights / weights.sum(), GRID, np.full_like(GRID, variance))
