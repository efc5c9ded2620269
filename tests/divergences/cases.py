"""Every registered divergence, in its default and in other settings, and how to run one."""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distillkit.core.spec import discover
from distillkit.divergences.apart import log_probs
from distillkit.divergences.base import Divergence, through_softmax

PREFIX = "divergence/"

REGISTERED = {
    path.removeprefix(PREFIX): cls for path, cls in discover().items() if path.startswith(PREFIX)
}

OTHER_SETTINGS: dict[str, list[dict[str, float]]] = {
    "jsd": [{"beta": 0.1}, {"beta": 0.9}, {"beta": 0.3, "normalize": True}],
    "skew_forward_kl": [{"alpha": 0.0}, {"alpha": 0.6}],
    "skew_reverse_kl": [{"alpha": 0.0}, {"alpha": 0.6}],
    "adaptive": [{"head_mass": 0.8}],
}

NO_F_DIVERGENCE = {"adaptive"}
"""Names for which merging entries may raise the value."""

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
"""Relative error allowed for logits of a type."""


@dataclass(frozen=True)
class Case:
    """A divergence by name, with its settings."""

    name: str
    settings: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{key}={value}" for key, value in self.settings.items())])

    def build(self) -> Divergence:
        """The divergence itself."""
        return REGISTERED[self.name](**self.settings)


CASES = [
    Case(name, settings)
    for name in sorted(REGISTERED)
    for settings in [{}, *OTHER_SETTINGS.get(name, [])]
]

F_DIVERGENCES = [case for case in CASES if case.name not in NO_F_DIVERGENCE]


def logits(*shape: int, seed: int, spread: float = 2.0) -> Tensor:
    """Reproducible normal logits in float64."""
    generator = torch.Generator().manual_seed(seed)
    return spread * torch.randn(*shape, generator=generator, dtype=torch.float64)


def probs(*entries: float) -> Tensor:
    """One row of logits whose softmax is these probabilities [1, V], in float64."""
    return torch.tensor([entries], dtype=torch.float64).log()


def value(case: Case, teacher: Tensor, student: Tensor) -> Tensor:
    """Divergence of two tables of logits, through ``log_probs`` as training does it [N]."""
    return case.build()(log_probs(teacher), log_probs(student))


def gradient(case: Case, teacher: Tensor, student: Tensor) -> Tensor:
    """Derivative of the value with respect to the student's logits [N, V], as training has it."""
    ours = log_probs(student)
    _, slope = case.build().slope(log_probs(teacher), ours)
    return through_softmax(slope, ours).to(student.dtype)


def to_numpy(tensor: Tensor) -> NDArray[np.float64]:
    """The same numbers in float64."""
    return tensor.detach().double().numpy()


def relative_error(ours: Tensor, truth: NDArray[np.float64]) -> float:
    """Largest difference over the largest true magnitude."""
    return float(np.abs(to_numpy(ours) - truth).max() / np.abs(truth).max())
