"""Supervised fine-tuning: cross-entropy on text that somebody else wrote."""

import torch
from torch import Tensor
from torch.nn import functional

from distillkit.core.clock import Clock
from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.core.types import Author, Batch, PerToken
from distillkit.models.head import Head
from distillkit.objectives.base import Objective, Scored, Scorer
from distillkit.objectives.chunked import rows_within
from distillkit.objectives.pulls import Likelihood
from distillkit.objectives.scoring import Pulled, pull_tokens


@spec("objective/sft")
class SFT(Objective):
    """Negative log-likelihood: SFT on the dataset's text, SeqKD on the teacher's."""

    def check_authors(self, authors: frozenset[Author]) -> None:
        refuse_own_text("sft", authors)

    def backward(
        self,
        batch: Scored,
        *,
        student: Scorer,
        teacher: Scorer | None,
        clock: Clock | None = None,
    ) -> dict[str, float]:
        pulled = Pulled(Likelihood(), batch.weights[:, None])
        sums = pull_tokens(
            pulled, batch, student=student, chunk_mb=self.chunk_mb, clock=clock or Clock()
        )
        return {"loss": sums.pulled}


def refuse_own_text(objective: str, authors: frozenset[Author]) -> None:
    """Refuse cross-entropy on a model's own samples: it feeds its errors back until it collapses.

    Raises:
        ConfigError: the student writes some of the text, alone or in a mixture.
    """
    if authors & {Author.student, Author.mixture}:
        raise ConfigError(
            f"objective={objective} takes text as true and cannot learn from what the student "
            "wrote, alone or with the teacher. Use objective=divergence, or policy=off_policy or "
            "policy=seq_kd."
        )


def token_nlls(hidden: Tensor, targets: Tensor, head: Head, *, chunk_mb: int) -> PerToken:
    """Negative log-likelihood of every packed target in nats [N], without a gradient."""
    ready = head.prepared()
    rows = rows_within(chunk_mb, ready.vocabulary)
    return torch.cat(
        [
            functional.cross_entropy(ready.logits(states), wanted, reduction="none")
            for states, wanted in zip(hidden.split(rows), targets.split(rows), strict=True)
        ]
    )


def total_nll(batch: Batch, model: Scorer, *, chunk_mb: int) -> float:
    """Summed negative log-likelihood of the responses, in nats, without a gradient."""
    nlls = token_nlls(model.hidden(batch), batch.targets, model.head, chunk_mb=chunk_mb)
    return nlls.sum(dtype=torch.float64).item()
