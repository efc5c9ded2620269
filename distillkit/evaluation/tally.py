"""Sums over positions for one estimator, in fp64, and the row that they end in."""

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from distillkit.core.types import PerToken


@dataclass(frozen=True, slots=True)
class EstimateRow:
    """What one estimator makes of a batch. None where a number has no meaning.

    What is called exact counts every token of the vocabulary, drawn or not.
    """

    estimator: str
    """``dense``, a support, or the name of a Monte Carlo estimator."""
    k: int | None
    """Entries of the vocabulary that are kept apart."""
    draws: int | None
    """Tokens drawn at each position."""
    value: float
    """In nats, weighted as in training; mean over repeats where it is random."""
    bias: float
    """Value minus the dense one."""
    bias_error: float | None
    """Standard error of the bias over the repeats. It is exact."""
    expected_bias: float
    """The bias without the noise of the draws. It is exact."""
    expected_cosine: float | None
    """Of the expected gradient with the dense one. It is exact."""
    gradient_norm: float
    """Of the expected gradient."""
    draw_cosine: float | None
    """Of one draw's gradient with the dense one, mean over repeats."""
    draw_cosine_spread: float | None
    """Standard deviation of the same."""
    variance: float | None
    """E |g - E g|^2 of one draw's gradient g over the squared dense one. It is exact."""
    outside_teacher: float | None
    """Mass of the teacher in the bucket, weighted over positions."""
    outside_student: float | None
    """Mass of the student in the bucket."""


class EstimateTally:
    """Sums for one estimator; a deterministic one has no repeats."""

    def __init__(
        self,
        estimator: str,
        *,
        device: torch.device,
        k: int | None = None,
        draws: int | None = None,
    ) -> None:
        self.estimator, self.k, self.draws = estimator, k, draws
        self._zero = torch.zeros((), dtype=torch.float64, device=device)
        self.value = self.dot = self.square = self._zero
        self._values = self._dots = self._squares = self._zero
        self._value_variance = self._variance = self._zero
        self._outside: tuple[Tensor, Tensor] | None = None

    def add(self, values: PerToken, weights: Tensor, gradient: Tensor, dense: Tensor) -> None:
        """Count the expected value [n] and gradient [n, D] beside the dense gradient [n, D]."""
        self.value = self.value + _weighted(values, weights)
        self.dot = self.dot + (gradient.double() * dense).sum()
        self.square = self.square + gradient.double().square().sum()

    def add_outside(self, masses: tuple[PerToken, PerToken], weights: Tensor) -> None:
        """Count the mass of teacher and student outside the support [n]."""
        teacher, student = self._outside or (self._zero, self._zero)
        left, right = (_weighted(mass, weights) for mass in masses)
        self._outside = teacher + left, student + right

    def add_variances(self, value: Tensor, gradient: Tensor) -> None:
        """Count the variance of the value and E |g - E g|^2 of the gradient, for one token each."""
        # Where all is zero, rounding may leave less.
        self._value_variance = self._value_variance + value.clamp_min(0)
        self._variance = self._variance + gradient.clamp_min(0)

    def add_repeats(self, values: Tensor, dots: Tensor, squares: Tensor) -> None:
        """Count R repeats: values, products with the dense gradient and squared lengths [R].

        Args:
            values: weighted sums over the chunk.
            dots: of each repeat's gradient with the dense one.
            squares: squared length of each repeat's gradient.
        """
        self._values, self._dots = self._values + values, self._dots + dots
        self._squares = self._squares + squares

    def row(self, dense: "EstimateTally") -> EstimateRow:
        """The sums as numbers, against those of the dense divergence."""
        length = dense.square.sqrt().item()
        values, repeats = self._values, self._values.numel()
        value = (values.mean() if self.draws else self.value).item()
        cosines = self._dots / (self._squares.sqrt() * length)
        outside = (None, None) if self._outside is None else [m.item() for m in self._outside]
        own = self.square.sqrt().item()
        return EstimateRow(
            estimator=self.estimator,
            k=self.k,
            draws=self.draws,
            value=value,
            bias=value - dense.value.item(),
            bias_error=self._error(repeats),
            expected_bias=self.value.item() - dense.value.item(),
            expected_cosine=_ratio(self.dot.item(), own * length),
            gradient_norm=own,
            draw_cosine=_finite(cosines.mean().item()) if self.draws else None,
            draw_cosine_spread=_finite(cosines.std().item()) if self.draws else None,
            variance=_ratio(self._variance.item() / self.draws, length**2) if self.draws else None,
            outside_teacher=outside[0],
            outside_student=outside[1],
        )

    def _error(self, repeats: int) -> float | None:
        if self.draws is None:
            return None
        return sqrt(self._value_variance.item() / (self.draws * repeats))


def _weighted(values: Tensor, weights: Tensor) -> Tensor:
    return (values.double() * weights.double()).sum()


def _ratio(above: float, below: float) -> float | None:
    return above / below if below else None


def _finite(number: float) -> float | None:
    return number if abs(number) < float("inf") else None
