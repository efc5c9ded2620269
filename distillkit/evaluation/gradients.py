"""Bias and noise of random gradients, told from repeated draws of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import sqrt

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class GradientRow:
    """What the draws say of one estimator."""

    estimator: str
    """Its name."""
    noise: float
    """Standard deviation of one draw: the root of its variance over all parameters."""
    length: float | None
    """Of its expected gradient, in the same unit; None where the mean of all draws is more noise
    than signal."""
    cosine: float | None
    """Between its expected gradient and the reference's; None where either is hidden so."""


class Gradients:
    """Sums over draws; the first estimator is the reference.

    Products of expectations are estimated from pairs of different draws, so that noise, which two
    draws do not share, adds nothing to them (U-statistics).

    Args:
        estimators: names.
    """

    def __init__(self, estimators: Sequence[str]) -> None:
        self._names, self._count = list(estimators), 0
        self._sums: dict[str, Tensor] = {}
        self._squares = dict.fromkeys(self._names, 0.0)
        self._with_reference = dict.fromkeys(self._names, 0.0)

    def add(self, draw: Mapping[str, Tensor]) -> None:
        """One draw of every estimator [P], all from the same prompts."""
        self._count += 1
        reference = draw[self._names[0]]
        for name in self._names:
            gradient = draw[name]
            known = self._sums.get(name)
            self._sums[name] = gradient.clone() if known is None else known.add_(gradient)
            self._squares[name] += _product(gradient, gradient)
            self._with_reference[name] += _product(gradient, reference)

    def rows(self) -> list[GradientRow]:
        """One for each estimator; at least two draws must have been added."""
        first = self._names[0]
        base = self._length(first)
        found = []
        for name in self._names:
            own, cosine = self._length(name), None
            if own is not None and base is not None:
                cosine = self._pairs(name, first, self._with_reference[name]) / (own * base)
            found.append(GradientRow(name, sqrt(self._variance(name)), own, cosine))
        return found

    def _length(self, name: str) -> float | None:
        square = self._pairs(name, name, self._squares[name])
        return sqrt(square) if square > self._variance(name) / self._count else None

    def _pairs(self, left: str, right: str, same: float) -> float:
        """Mean product of two different draws; ``same`` is the sum of those of one draw."""
        whole = _product(self._sums[left], self._sums[right])
        return (whole - same) / (self._count * (self._count - 1))

    def _variance(self, name: str) -> float:
        """Unbiased variance of one draw, summed over the parameters."""
        mean_square = _product(self._sums[name], self._sums[name]) / self._count
        # Draws that are all the same leave a rounding error on either side of 0.
        return max(0.0, (self._squares[name] - mean_square) / (self._count - 1))


def flat(gradients: Sequence[Tensor]) -> Tensor:
    """Gradients of all parameters end to end [P], fp32 on the CPU."""
    return torch.cat(list(chain(part.detach().flatten().float().cpu() for part in gradients)))


def _product(left: Tensor, right: Tensor) -> float:
    return torch.linalg.vecdot(left.double(), right.double()).item()
