"""How the next token is chosen, every setting explicit.

The model's own ``generation_config`` is never read, so none of its filters can leak in.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from distillkit.core.bounds import LONGEST, check_bound
from distillkit.core.errors import ConfigError


@dataclass(kw_only=True, slots=True)
class Sampling:
    """How the next token is chosen. Defaults are neutral: the model's own distribution."""

    FIELD: ClassVar = "rollout"

    temperature: float = 1.0
    """Divides the logits; 0 is greedy."""
    top_k: int = 0
    """Keep the k likeliest tokens; 0 keeps all."""
    top_p: float = 1.0
    """Keep the likeliest tokens that hold this mass; 1 keeps all."""
    min_p: float = 0.0
    """Keep tokens at least this fraction as likely as the likeliest; 0 keeps all."""
    max_new_tokens: int = 64
    """Longest response; one that reaches it without ending counts as truncated."""
    batch_size: int = 256
    """Prompts written side by side."""

    def __post_init__(self) -> None:
        checks = {
            "temperature": (self.temperature >= 0, "be 0 (greedy) or more"),
            "top_k": (self.top_k >= 0, "be 0 (off) or more"),
            "top_p": (0 < self.top_p <= 1, "lie in (0, 1]"),
            "min_p": (0 <= self.min_p < 1, "lie in [0, 1)"),
            "max_new_tokens": (self.max_new_tokens >= 1, "be at least 1"),
            "batch_size": (self.batch_size >= 1, "be at least 1"),
        }
        for field, (holds, rule) in checks.items():
            if not holds:
                value = getattr(self, field)
                raise ConfigError(f"{self.FIELD}.{field} must {rule}, got {value}.")
        check_bound(f"{self.FIELD}.max_new_tokens", self.max_new_tokens, LONGEST)

    @property
    def neutral(self) -> bool:
        """Whether tokens are drawn from the model's own distribution, unchanged."""
        return (self.temperature, self.top_k, self.top_p, self.min_p) == (1, 0, 1, 0)


@dataclass(kw_only=True, slots=True)
class TeacherSampling(Sampling):
    """The same for the teacher's text, named as the user types it."""

    FIELD: ClassVar = "teacher_rollout"


def choose(logits: Tensor, sampling: Sampling, uniform: Tensor | None) -> tuple[Tensor, Tensor]:
    """One token for each row, by inverting the distribution function in fp64.

    Args:
        logits: fp32 [B, V].
        sampling: how.
        uniform: fp64 draws in [0, 1) [B]; not needed when greedy.

    Returns:
        Token ids [B], and the log-probability of each under the distribution it was drawn from,
        temperature and filters included (0 when greedy) [B]. It is NaN where the logits are not
        finite.
    """
    if sampling.temperature == 0:
        peak = logits.max(-1)
        return peak.indices, peak.values - peak.values
    assert uniform is not None
    probabilities = filtered(logits, sampling).softmax(-1)
    tokens, total = draw(probabilities, uniform)
    return tokens, log_of(probabilities, tokens, total)


def draw(probabilities: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Token ids [B] and the rows' fp64 sums [B], which are 1 but for rounding.

    Args:
        probabilities: fp32 [B, V].
        uniform: fp64 draws in [0, 1) [B].
    """
    cumulative = probabilities.cumsum(-1, dtype=torch.float64)
    total = cumulative[:, -1:]
    # The first entry whose sum exceeds the draw: one of probability 0 adds nothing and never is.
    found = torch.searchsorted(cumulative, uniform[:, None] * total, right=True)
    return found.clamp_max(probabilities.shape[-1] - 1)[:, 0], total[:, 0]


def log_of(probabilities: Tensor, tokens: Tensor, total: Tensor) -> Tensor:
    """Log-probabilities [B] of the tokens [B] in rows [B, V] that add up to ``total`` [B]."""
    return (probabilities.gather(-1, tokens[:, None]).double()[:, 0] / total).log()


def filtered(logits: Tensor, sampling: Sampling) -> Tensor:
    """Logits [B, V] at the temperature, -inf where a filter drops the token."""
    if sampling.temperature != 1:
        logits = logits / sampling.temperature
    if not (sampling.top_k or sampling.top_p < 1 or sampling.min_p > 0):
        return logits
    # Slow to load, and these settings are read where no model is.
    from transformers.generation import MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    unused = torch.empty(0)
    if sampling.top_k:
        logits = TopKLogitsWarper(sampling.top_k)(unused, logits)
    if sampling.top_p < 1:
        logits = TopPLogitsWarper(sampling.top_p)(unused, logits)
    if sampling.min_p > 0:
        logits = MinPLogitsWarper(sampling.min_p)(unused, logits)
    return logits
