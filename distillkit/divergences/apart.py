"""Log-probabilities whose normaliser is kept apart.

A log-probability near -12 of a large vocabulary is rounded to 1e-6, and ``torch.log_softmax`` adds
as much again on a CPU, the same at all entries of a position. Where two models nearly agree, their
difference is what is learnt from, and both errors are seen in it. Logits are near zero: they are
subtracted as they are, and their normalisers, in fp64, apart.
"""

from typing import NamedTuple, Self

import torch
from jaxtyping import Float
from torch import Tensor

from distillkit.core.types import LogProbs

FLOOR = -1e30
"""Stands for log 0: finite, so that 0 * log 0 is 0 and no gradient becomes NaN."""


class Apart(NamedTuple):
    """Distributions of N positions over V entries."""

    logits: Float[Tensor, "N V"]
    """Divided by the temperature, and no lower than the floor."""
    probabilities: Float[Tensor, "N V"]
    largest: Float[Tensor, "N 1"]
    """The largest logit."""
    above: Float[Tensor, "N 1"]
    """By how much the logarithm of the sum of the logits' exponentials is above it; fp64."""

    @classmethod
    def of(cls, logits: Float[Tensor, "N V"], temperature: float = 1.0) -> Self:
        """In at least fp32.

        Args:
            logits: [N, V] in any floating type; masked entries are -inf.
            temperature: divides them.
        """
        wide = _wide(logits, temperature)
        largest, exponentials, total = _summed(wide)
        exponentials *= total.reciprocal()
        return cls(wide, exponentials, largest, total.double().log())

    # The checking of shapes in tests wraps what names one, and no graph leads through a method that
    # is wrapped.
    def exp(self) -> Tensor:
        """The probabilities [N, V]; not to be overwritten."""
        return self.probabilities

    def __sub__(self, other: "Apart") -> Tensor:
        """Logarithms of the ratios of probabilities [N, V]."""
        shift = self._normaliser - other._normaliser
        return (self.logits - other.logits).sub_(shift.to(self.logits.dtype))

    @property
    def _normaliser(self) -> Tensor:
        return self.largest.double() + self.above

    def at(self, ids: Tensor) -> Tensor:
        """Log-probabilities of some entries [N, K]."""
        return (self.logits.gather(-1, ids) - self._normaliser).to(self.logits.dtype)


Logs = LogProbs | Apart
"""Log-probabilities in either form: both have differences and exponentials."""


def together(logs: Logs) -> LogProbs:
    """Log-probabilities as one tensor."""
    if not isinstance(logs, Apart):
        return logs
    return _normalised(logs.logits, logs.largest, logs.above)


def log_probs(logits: Float[Tensor, "N V"], temperature: float = 1.0) -> LogProbs:
    """The same from logits, without probabilities; a gradient may lead through it.

    Args:
        logits: [N, V] in any floating type; masked entries (-inf) are floored.
        temperature: divides the logits.

    Returns:
        [N, V] in fp32, or fp64 for fp64 logits.
    """
    wide = _wide(logits, temperature)
    largest, _, total = _summed(wide)
    return _normalised(wide, largest, total.double().log())


def _wide(logits: Tensor, temperature: float) -> Tensor:
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return (wide if temperature == 1 else wide / temperature).clamp_min(FLOOR)


def _summed(wide: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The largest logit [N, 1], exponentials of what is above it [N, V], and their sum [N, 1]."""
    largest = wide.detach().amax(-1, keepdim=True)
    exponentials = (wide - largest).exp_()
    return largest, exponentials, exponentials.sum(-1, keepdim=True)


def _normalised(wide: Tensor, largest: Tensor, above: Tensor) -> Tensor:
    return (wide - largest).sub_(above.to(wide.dtype)).clamp_min_(FLOOR)
