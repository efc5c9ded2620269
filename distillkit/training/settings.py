"""Settings of the loop, the optimiser, checkpoints and the evaluations on the way."""

import math
from dataclasses import dataclass
from enum import StrEnum

from distillkit.core.bounds import (
    ABOVE_ZERO,
    BELOW_ONE,
    FROM_ZERO,
    LONGEST,
    MANY,
    POSITIVE,
    SHARE,
    check_bound,
    check_range,
)
from distillkit.core.errors import ConfigError


class Reduction(StrEnum):
    """How positions share the loss of a global batch."""

    token_mean = "token_mean"
    sequence_mean = "sequence_mean"
    sequence_sum = "sequence_sum"


@dataclass(kw_only=True, slots=True)
class LoopSettings:
    """One update: how many rows, how they are split, how they are averaged."""

    batch_size: int = 32
    """Rows of one update, over all micro-batches."""
    micro_batch_tokens: int = 16384
    """Most padded tokens that go through the models at once; more rows are accumulated."""
    reduction: Reduction = Reduction.token_mean
    """``token_mean`` over all response tokens, the GKD paper's ``sequence_mean``, or
    ``sequence_sum``: the mean of each sequence's sum, as a divergence of whole sequences has it."""
    group: int = 1
    """Responses to each prompt, side by side in a batch."""
    collect: int = 1
    """Batches that are written at once, before any of them is trained on."""
    inner_epochs: int = 1
    """How often each rollout is trained on before new ones are written."""
    max_grad_norm: float = 1.0
    """Gradients longer than this are scaled down to it."""
    max_prompt_tokens: int | None = None
    """Drop training prompts longer than this, and say how many; null refuses to start instead."""

    def __post_init__(self) -> None:
        sizes = ("batch_size", "micro_batch_tokens", "group", "collect", "inner_epochs")
        check_range(self, "loop.", POSITIVE, *sizes)
        check_bound("loop.batch_size", self.batch_size, MANY)
        check_bound("loop.collect times loop.batch_size", self.collect * self.batch_size, MANY)
        if self.batch_size % self.group:
            raise ConfigError(
                f"loop.group={self.group} does not divide loop.batch_size={self.batch_size}. "
                "A batch holds whole groups: change one of the two."
            )
        hint = "A large number such as 1e9 turns clipping off."
        check_range(self, "loop.", ABOVE_ZERO, "max_grad_norm", hint=hint)

    @property
    def span(self) -> int:
        """Updates from one writing to the next."""
        return self.collect * self.inner_epochs

    @property
    def prompts(self) -> int:
        """Examples of one writing, each answered ``group`` times."""
        return self.batch_size * self.collect // self.group


class Shape(StrEnum):
    """How the learning rate runs after the warm-up."""

    constant = "constant"
    linear = "linear"
    cosine = "cosine"
    wsd = "wsd"


@dataclass(kw_only=True, slots=True)
class OptimizerSettings:
    """AdamW and its schedule."""

    lr: float = 1e-3
    """Learning rate at its peak."""
    beta1: float = 0.9
    """Decay of the first moment."""
    beta2: float = 0.95
    """Decay of the second moment."""
    eps: float = 1e-8
    """Added to the root of the second moment."""
    weight_decay: float = 0.0
    """Decoupled decay of matrices; vectors (norms, biases) are left alone."""
    schedule: Shape = Shape.cosine
    """``constant``, ``linear``, ``cosine``, or ``wsd`` (warm-up, stable, linear decay)."""
    warmup: float = 0.05
    """Share of the steps in which the rate rises from 0."""
    decay: float = 0.2
    """Share of the steps after the warm-up in which ``wsd`` falls."""
    floor: float = 0.1
    """Last rate as a share of ``lr``, for schedules that fall."""

    def __post_init__(self) -> None:
        if not 0 < self.lr < math.inf:
            raise ConfigError(f"optimizer.lr must be above 0 and finite, got {self.lr}.")
        check_range(self, "optimizer.", FROM_ZERO, "eps", "weight_decay")
        shares = ("warmup", "decay", "floor")
        check_range(self, "optimizer.", SHARE, *shares, hint="It is a share.")
        check_range(self, "optimizer.", BELOW_ONE, "beta1", "beta2")


class Export(StrEnum):
    """Which weights end up in ``student/``."""

    last = "last"
    best = "best"


@dataclass(kw_only=True, slots=True)
class CheckpointSettings:
    """When the run saves, and what it keeps."""

    every: int = 100
    """Steps between checkpoints; an interrupted run also saves where it stops."""
    keep_last: int = 2
    """Newest checkpoints kept."""
    export: Export = Export.last
    """``last`` compares methods fairly; ``best`` picks by validation and says so."""

    def __post_init__(self) -> None:
        check_range(self, "checkpoint.", POSITIVE, "every", "keep_last")


@dataclass(kw_only=True, slots=True)
class EvaluationSettings:
    """What is measured on the way and at the end."""

    every: int = 50
    """Steps between validations; 0 for none on the way."""
    validation: int | None = 200
    """Validation examples used on the way; null for all."""
    test: int | None = None
    """Test examples used at the end; null for all, 0 for no final evaluation."""
    max_new_tokens: int | None = None
    """Longest response when evaluating; that of ``rollout`` if null. Decoding is greedy."""
    batch_size: int = 256
    """Prompts written side by side when evaluating."""
    samples: int = 4
    """Completions kept at each validation, in samples.jsonl and the W&B table."""

    def __post_init__(self) -> None:
        counts = ("every", "samples", "validation", "test")
        check_range(self, "evaluation.", FROM_ZERO, *counts)
        check_bound("evaluation.max_new_tokens", self.max_new_tokens, LONGEST)
        check_range(self, "evaluation.", POSITIVE, "batch_size")
